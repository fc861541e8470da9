package hf

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// modelName is what the name of a model, such as
// mlabonne/Beyonder-4x7B-v2, says about it. Parts it does not say are empty.
type modelName struct {
	full, organization, basename, finetune, version, sizeLabel string
}

var (
	versionPart  = regexp.MustCompile(`(?i)^(v|iter)?\d+([.]\d+)*$`)
	typePart     = regexp.MustCompile(`(?i)^(i?q\d(_\w)*|b?fp?(16|32))$`)
	sizePart     = regexp.MustCompile(`(?i)^((A|\d+x)?\d+([._]\d+)?[KMBT]\d?|small|mini|medium|large|x?xl)$`)
	finetunePart = regexp.MustCompile(`(?i)^(chat|instruct|vision|lora)$`)
	versionWord  = regexp.MustCompile(`^(v\d+(?:\.\d+)*|\d.*)$`)
)

// namePart is a part of a name between hyphens, and what it may be.
type namePart struct {
	text                                         string
	basename, version, typ, sizeLabel, finetuned bool
}

func (p namePart) unknown() bool {
	return !p.basename && !p.version && !p.typ && !p.sizeLabel && !p.finetuned
}

// parseModelName takes a name apart by the heuristics of gguf-py's
// Metadata.get_model_id_components. params is the model's number of parameters,
// which tells sizes from context lengths.
func parseModelName(id string, params int64) modelName {
	if strings.Contains(id, " ") {
		return modelName{full: id}
	}
	var m modelName
	m.full = id
	if org, name, ok := strings.Cut(id, "/"); ok {
		m.full = name
		if !strings.HasPrefix(org, ".") { // a path
			m.organization = org
		}
	}

	var parts []namePart
	for text := range strings.SplitSeq(m.full, "-") {
		if text != "" {
			parts = append(parts, namePart{text: text})
		}
	}
	for i := range parts {
		p := &parts[i]
		switch {
		case versionPart.MatchString(p.text):
			p.version = true
		case typePart.MatchString(p.text):
			p.typ = true
			p.text = strings.ToUpper(p.text)
		case i > 0 && sizePart.MatchString(p.text):
			p.readSize(params)
		case i > 0 && finetunePart.MatchString(p.text):
			p.finetuned = true
		}
	}

	// A size in words counts only if there is none in numbers.
	digits := func(p namePart) bool { return p.sizeLabel && strings.ContainsFunc(p.text, unicode.IsDigit) }
	if slices.ContainsFunc(parts, digits) {
		for i := range parts {
			if !strings.ContainsFunc(parts[i].text, func(r rune) bool { return !unicode.IsLetter(r) }) {
				parts[i].sizeLabel = false
			}
		}
	}

	// The basename is what comes before anything recognized except versions,
	// and versions at its end are not part of it.
	start := true
	for i := range parts {
		p := &parts[i]
		letter := unicode.IsLetter([]rune(p.text)[0])
		if start && (p.unknown() && letter || p.version) {
			p.basename = true
			continue
		}
		start = false
		if p.unknown() {
			p.finetuned = true
		}
	}
	for i := len(parts) - 1; i >= 0 && parts[i].basename && parts[i].version; i-- {
		parts[i].basename = false
	}

	m.basename = joinParts(parts, func(p namePart) bool { return p.basename })
	m.finetune = joinParts(parts, func(p namePart) bool { return p.finetuned })
	m.version = joinParts(parts, func(p namePart) bool { return p.version && !p.basename })
	var sizes []namePart
	for _, p := range parts {
		if p.sizeLabel && !slices.ContainsFunc(sizes, func(q namePart) bool { return q.text == p.text }) {
			sizes = append(sizes, p)
		}
	}
	m.sizeLabel = joinParts(sizes, func(namePart) bool { return true })
	if m.sizeLabel == "" && m.finetune == "" && m.version == "" {
		m.basename = "" // too little to tell
	}
	return m
}

func joinParts(parts []namePart, which func(namePart) bool) string {
	var texts []string
	for _, p := range parts {
		if which(p) {
			texts = append(texts, p.text)
		}
	}
	return strings.Join(texts, "-")
}

// readSize normalizes a part that looks like a size. One that is far from the
// model's number of parameters is taken for a context length.
func (p *namePart) readSize(params int64) {
	text := []byte(strings.ReplaceAll(p.text, "_", "."))
	digit := func(b byte) bool { return b >= '0' && b <= '9' }
	if n := len(text); digit(text[n-1]) { // 7b1 is 7.1b
		text = append(text[:n-2:n-2], '.', text[n-1], text[n-2])
	}
	if n := len(text); n > 1 && digit(text[n-2]) {
		text[n-1] = byte(unicode.ToUpper(rune(text[n-1])))
	}
	unit := strings.IndexByte(" KMBT", text[len(text)-1])
	if size, err := strconv.ParseFloat(string(text[:len(text)-1]), 64); err == nil && params != 0 {
		if math.Abs(float64(size*math.Pow(1000, float64(unit)))-float64(params)) > float64(7*params/8) {
			p.finetuned = true
			text[len(text)-1] = byte(unicode.ToLower(rune(text[len(text)-1])))
		}
	}
	p.sizeLabel = !p.finetuned
	p.text = string(text)
}

// title writes a name as people would: hyphens become spaces, and words in
// small letters get a capital, except versions.
func title(name string) string {
	words := strings.Fields(strings.ReplaceAll(name, "-", " "))
	for i, w := range words {
		if isLower(w) && !versionWord.MatchString(w) {
			words[i] = capitalize(w)
		}
	}
	return strings.Join(words, " ")
}

// isLower reports whether w has letters and all of them are small.
func isLower(w string) bool {
	return w == strings.ToLower(w) && w != strings.ToUpper(w)
}

// capitalize makes the first letter of each run of letters a capital.
func capitalize(w string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		first := !inWord
		inWord = unicode.IsLetter(r)
		if first {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, w)
}

// sizeLabel writes a number of parameters with two digits or all before the
// decimal point, such as 7.2B, 24B, 4x7.2B. For mixtures of experts, params is
// that of the shared tensors and one expert (gguf-py's size_label).
func sizeLabel(params, experts int64) string {
	scaled, unit := float64(params)*1e-3, "K"
	switch p := float64(params); {
	case p > 1e12:
		scaled, unit = p*1e-12, "T"
	case p > 1e9:
		scaled, unit = p*1e-9, "B"
	case p > 1e6:
		scaled, unit = p*1e-6, "M"
	}
	whole := strings.TrimLeft(strconv.FormatFloat(math.RoundToEven(scaled), 'f', 0, 64), "0")
	label := strconv.FormatFloat(scaled, 'f', max(2-len(whole), 0), 64) + unit
	if experts > 0 {
		label = strconv.FormatInt(experts, 10) + "x" + label
	}
	return label
}
