package tokenizer

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// compose returns text in Unicode's normal form C as Hugging Face's tokenizers make it: with the tables of
// Unicode 9, to which later marks are no marks, and without the grapheme joiners that package norm
// puts into long runs of marks.
func compose(text string) string {
	if norm.NFC.IsNormalString(text) && strings.IndexFunc(text, isLaterMark) < 0 {
		return text
	}
	var b strings.Builder
	start, count := 0, 0
	end := func(at int) {
		if segment := text[start:at]; count < shortSegment {
			b.WriteString(norm.NFC.String(segment))
		} else {
			b.WriteString(composeLong(segment))
		}
		start, count = at, 0
	}
	for i, r := range text {
		later := isLaterMark(r)
		if later || norm.NFC.PropertiesString(text[i:]).BoundaryBefore() {
			end(i)
		}
		if later {
			n := i + len(string(r))
			b.WriteString(text[i:n])
			start, count = n, 0
			continue
		}
		count++
	}
	end(len(text))
	return b.String()
}

// shortSegment is so many characters that what they decompose to has less than 30 marks, norm's limit.
const shortSegment = 8

// composeLong composes a character and what combines with it.
func composeLong(segment string) string {
	type char struct {
		text string
		ccc  uint8 // class of a mark, by which they are sorted; 0 if it is none
	}
	var chars []char
	marks := 0 // the first of those that stand together
	for _, r := range segment {
		for _, part := range norm.NFD.String(string(r)) {
			c := char{string(part), norm.NFC.PropertiesString(string(part)).CCC()}
			if c.ccc == 0 {
				slices.SortStableFunc(chars[marks:], func(a, b char) int { return cmp.Compare(a.ccc, b.ccc) })
				marks = len(chars) + 1
			}
			chars = append(chars, c)
		}
	}
	slices.SortStableFunc(chars[min(marks, len(chars)):], func(a, b char) int { return cmp.Compare(a.ccc, b.ccc) })
	out := chars[:0]
	first := -1 // what the next may be composed with
	for _, c := range chars {
		if first >= 0 && (first == len(out)-1 || out[len(out)-1].ccc != 0 && out[len(out)-1].ccc < c.ccc) {
			if both := norm.NFC.String(out[first].text + c.text); len([]rune(both)) == 1 {
				out[first].text = both
				continue
			}
		}
		out = append(out, c)
		if c.ccc == 0 {
			first = len(out) - 1
		}
	}
	var b strings.Builder
	for _, c := range out {
		b.WriteString(c.text)
	}
	return b.String()
}

func isLaterMark(r rune) bool { return r >= 0x7fd && unicode.Is(marksSince10, r) }

// marksSince10 are marks, and one letter that is composed, that Unicode has had since version 10.
var marksSince10 = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x7fd, 0x7fd, 1}, {0x898, 0x89f, 1}, {0x8ca, 0x8d3, 1}, {0x9fe, 0x9fe, 1}, {0xc3c, 0xc3c, 1}, {0xd3b, 0xd3c, 1}, {0xeba, 0xeba, 1},
		{0x1715, 0x1715, 1}, {0x1abf, 0x1ace, 1}, {0x1df6, 0x1dfa, 1}, {0xa82c, 0xa82c, 1},
	},
	R32: []unicode.Range32{
		{0x10d24, 0x10d27, 1}, {0x10eab, 0x10eac, 1}, {0x10efd, 0x10eff, 1}, {0x10f46, 0x10f50, 1}, {0x10f82, 0x10f85, 1}, {0x11070, 0x11070, 1},
		{0x1133b, 0x1133b, 1}, {0x1145e, 0x1145e, 1}, {0x11839, 0x1183a, 1}, {0x11938, 0x11938, 1}, {0x1193d, 0x1193e, 1}, {0x11943, 0x11943, 1},
		{0x119e0, 0x119e0, 1}, {0x11a34, 0x11a34, 1}, {0x11a47, 0x11a47, 1}, {0x11a99, 0x11a99, 1}, {0x11d42, 0x11d42, 1}, {0x11d44, 0x11d45, 1},
		{0x11d97, 0x11d97, 1}, {0x11f41, 0x11f42, 1}, {0x16ff0, 0x16ff1, 1}, {0x1e08f, 0x1e08f, 1}, {0x1e130, 0x1e136, 1}, {0x1e2ae, 0x1e2ae, 1},
		{0x1e2ec, 0x1e2ef, 1}, {0x1e4ec, 0x1e4ef, 1},
	},
}
