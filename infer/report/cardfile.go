package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
)

// CardFile is a file of a model that a card is of, a set of split files, or a checkpoint.
type CardFile struct {
	Name string `json:"name"`
	Storage
	FileBytes int64      `json:"file_bytes"` // of all parts
	Parts     []CardPart `json:"parts"`

	meta       *gguf.Metadata
	tensors    []gguf.TensorInfo
	parameters int64
}

// CardPart is a file on disk.
type CardPart struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
}

// NewCardFile describes a model that was opened by a path. SHA-256 sums are for the caller to fill in.
func NewCardFile(path string, src gguf.Source) (*CardFile, error) {
	stored, err := newStorage(src)
	if err != nil {
		return nil, err
	}
	path, err = filepath.Abs(path) // a directory may be called "."
	if err != nil {
		return nil, err
	}
	f := &CardFile{
		Name: filepath.Base(path), Storage: stored, meta: src.Metadata(), tensors: src.Tensors(), parameters: gguf.Elements(src),
	}
	for _, input := range gguf.Inputs(src) {
		f.Parts = append(f.Parts, CardPart{Name: filepath.Base(input.Name()), Bytes: input.Size()})
		f.FileBytes += input.Size()
	}
	if len(f.Parts) == 0 {
		return nil, errors.New("a card is of files, and it has none")
	}
	return f, nil
}

// stem is the name without extension, and without the number of a split file.
func (f *CardFile) stem() string { return display.ModelStem(f.Name) }

// text returns a text of the metadata, "" if there is none.
func (f *CardFile) text(key string) string {
	value, err := gguf.Value[string](f.meta, key)
	if err != nil {
		return ""
	}
	return display.Name(value)
}

// texts returns a list of texts of the metadata.
func (f *CardFile) texts(key string) []string {
	values, err := gguf.Value[[]string](f.meta, key)
	if err != nil {
		return nil
	}
	const most = 100
	var texts []string
	for _, value := range values[:min(len(values), most)] {
		texts = append(texts, display.Name(value))
	}
	return texts
}

// imatrix is the importance matrix that the file was quantized with, as far as it says.
func (f *CardFile) imatrix() string { return f.text("quantize.imatrix.file") }

// types says how many tensors are of which type.
func (f *CardFile) types() string {
	if f.IsPacked() {
		return markdownText(f.What())
	}
	count := make(map[string]int)
	for _, t := range f.tensors {
		count[t.Type.String()]++
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], strings.Compare(a, b)) })
	var texts []string
	for _, name := range names {
		texts = append(texts, fmt.Sprintf("%d %s", count[name], name))
	}
	return "tensors: " + strings.Join(texts, ", ")
}

// cardOrigin is a model or a set of data that a model was made of.
type cardOrigin struct{ organization, name, address string }

func (o cardOrigin) called() string {
	name := cmp.Or(o.name, o.address)
	if o.organization != "" && o.name != "" {
		name = o.organization + ", " + name
	}
	return name
}

// origins lists what general.base_model and general.dataset name.
func (f *CardFile) origins(kind string) []cardOrigin {
	const most = 100
	n, _ := f.meta.Uint("general." + kind + ".count") // none if it is not there
	var origins []cardOrigin
	for i := range min(n, most) {
		get := func(key string) string { return f.text(fmt.Sprintf("general.%s.%d.%s", kind, i, key)) }
		o := cardOrigin{get("organization"), get("name"), cmp.Or(get("repo_url"), get("url"))}
		if o.called() != "" {
			origins = append(origins, o)
		}
	}
	return origins
}

// CardDrift is a report of drift or choose as a card shows it.
type CardDrift struct {
	raw, shown *Drift  // shown has texts as Markdown
	choice     *Choice // or nil; its Summary is Markdown
}

// CardEval is a report of eval as a card shows it.
type CardEval struct{ raw, shown *Eval }

// ReadDrift reads the JSON of drift or of choose.
func ReadDrift(data []byte) (*CardDrift, error) {
	raw, choice, err := readDrift(data)
	if err != nil {
		return nil, err
	}
	if data, err = inMarkdown(data); err != nil {
		return nil, err
	}
	shown, choiceShown, err := readDrift(data)
	if err == nil && choice != nil {
		choice.Summary = choiceShown.Summary
	}
	return &CardDrift{raw, shown, choice}, err
}

// Page returns the page of the report.
func (d *CardDrift) Page() (string, error) {
	if d.choice != nil {
		return d.choice.Page()
	}
	return d.raw.Page()
}

// readDrift takes a choice for what it is, and the drift that is in it.
func readDrift(data []byte) (*Drift, *Choice, error) {
	var kind struct {
		Candidates *json.RawMessage `json:"candidates"`
		Considered *json.RawMessage `json:"considered"`
		Texts      *json.RawMessage `json:"texts"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return nil, nil, err
	}
	d, choice := &Drift{}, (*Choice)(nil)
	switch {
	case kind.Texts != nil && kind.Considered != nil:
		choice = &Choice{}
		if err := json.Unmarshal(data, choice); err != nil {
			return nil, nil, err
		}
		if !choice.Chosen.Measured() || len(choice.Chosen.Contexts) == 0 {
			return nil, nil, errors.New("it has no figures of what was chosen")
		}
		*d = Drift{
			Model: choice.Model, Base: choice.Base, Texts: choice.Texts, Ctx: choice.Window, Compute: choice.Compute, Imatrix: choice.Imatrix,
			Floor: choice.Floor, Provenance: choice.Provenance,
		}
		for _, considered := range choice.Considered {
			if considered.Measured() && considered.ByText != nil {
				candidate := *considered.Candidate
				candidate.Name, candidate.Bytes, candidate.BPW = considered.Name, considered.Bytes, considered.BPW
				d.Candidates = append(d.Candidates, candidate)
			}
		}
		choice.Drift = d
	case kind.Texts != nil && kind.Candidates != nil:
		if err := json.Unmarshal(data, d); err != nil {
			return nil, nil, err
		}
	default:
		return nil, nil, errors.New("it is not what drift --json or choose --json print")
	}
	return d, choice, d.check()
}

// check refuses reports that do not have what is shown of them.
func (r *Drift) check() error {
	if len(r.Texts) == 0 || len(r.Candidates) == 0 {
		return errors.New("nothing was measured")
	}
	for _, c := range r.Candidates {
		if len(c.ByText) != len(r.Texts) || (c.Router == nil) != (r.Candidates[0].Router == nil) || !sameLayers(c.Layers, r.Candidates[0].Layers) {
			return fmt.Errorf("candidate %q has other figures than the others", display.Name(c.Name))
		}
		intervals := c.hasIntervals()
		for _, text := range c.ByText {
			intervals = intervals && text.hasIntervals()
		}
		if !intervals {
			return fmt.Errorf("candidate %q has an interval of one end", display.Name(c.Name))
		}
	}
	return nil
}

// sameLayers reports whether two candidates have the same figures of the same layers.
func sameLayers(a, b []Layer) bool {
	return slices.EqualFunc(a, b, func(a, b Layer) bool {
		return a.Layer == b.Layer && (a.SameExperts == nil) == (b.SameExperts == nil) && (a.SameExperts == nil) == (a.SameFirstExpert == nil)
	})
}

// hasIntervals reports whether each interval has both ends, or none.
func (m *Measures) hasIntervals() bool {
	for _, ends := range [][2]*float64{
		{m.PPLLow, m.PPLHigh}, {m.PPLRatioLow, m.PPLRatioHigh}, {m.KLDLow, m.KLDHigh}, {m.SameTopLow, m.SameTopHigh}, {m.RMSDeltaPLow, m.RMSDeltaPHigh},
	} {
		if (ends[0] == nil) != (ends[1] == nil) {
			return false
		}
	}
	return true
}

// ReadEval reads the JSON of eval.
func ReadEval(data []byte) (*CardEval, error) {
	raw, err := readEval(data)
	if err != nil {
		return nil, err
	}
	shown, err := inMarkdown(data)
	if err != nil {
		return nil, err
	}
	e := &CardEval{raw: raw}
	e.shown, err = readEval(shown)
	return e, err
}

func readEval(data []byte) (*Eval, error) {
	e := &Eval{}
	if err := json.Unmarshal(data, e); err != nil {
		return nil, err
	}
	if e.Profile == "" || len(e.Results) == 0 {
		return nil, errors.New("it is not what eval --output writes")
	}
	for _, f := range e.forms() {
		if len(f.results) != len(e.Results) {
			return nil, fmt.Errorf("%q was not evaluated on the same tasks", display.Name(f.name))
		}
		for i, r := range f.results {
			if len(r.Metrics) == 0 || r.Task != e.Results[i].Task {
				return nil, fmt.Errorf("%q has no figures of task %q", display.Name(f.name), display.Name(e.Results[i].Task))
			}
		}
	}
	for _, d := range e.Differences() {
		if d.ChangedAnswers == nil {
			return nil, fmt.Errorf("%q has differences without changed answers", display.Name(d.Candidate))
		}
	}
	return e, nil
}

// inMarkdown returns a JSON document with its texts as markdownText has them, names of objects too.
func inMarkdown(data []byte) ([]byte, error) {
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	var walk func(v any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return markdownText(v)
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			other := make(map[string]any, len(v))
			for key, value := range v {
				other[markdownText(key)] = walk(value)
			}
			return other
		}
		return v
	}
	return json.Marshal(walk(document))
}

// markdownEntities are what Markdown or HTML would take for more than text. Of characters in front of which a backslash would do, too, a
// table takes a bar apart.
var markdownEntities = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "*", "&#42;", "[", "&#91;", "]", "&#93;", `\`, "&#92;", "~", "&#126;", "$", "&#36;",
)

var (
	looseUnderline = regexp.MustCompile(`(^|[^\pL\pN])_+|_+($|[^\pL\pN])`) // which may begin or end what is emphasized
	markdownStart  = regexp.MustCompile(`^([#+-]+|=+|\d+[.)])( |$)`)       // of a heading or a list
)

// markdownText returns a text that may be from a file as Markdown shows it: on one line, as it is.
func markdownText(s string) string {
	s = markdownEntities.Replace(display.Printable(strings.Join(strings.Fields(s), " ")))
	s = looseUnderline.ReplaceAllStringFunc(s, func(m string) string { return strings.ReplaceAll(m, "_", "&#95;") })
	if start := markdownStart.FindStringSubmatch(s); start != nil {
		last := len(start[1]) - 1
		s = fmt.Sprintf("%s&#%d;%s", s[:last], s[last], s[last+1:])
	}
	return s
}

// link returns a text, as a link where the address is one of the web.
func link(text, address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return text
	}
	return fmt.Sprintf("[%s](<%s>)", text, strings.NewReplacer("<", "%3C", ">", "%3E", "\\", "%5C").Replace(u.String()))
}

// fence writes a block of code, between fences that are not in it.
func fence(b *strings.Builder, language, text string) {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	fmt.Fprintf(b, "\n%s%s\n%s\n%[1]s\n", fence, language, text)
}

// shellName is the name of a file as a shell takes it.
func shellName(name string) string {
	name = display.Printable(name)
	if notInFileNames.MatchString(name) {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}
