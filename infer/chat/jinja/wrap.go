package jinja

import (
	"strings"
	"unicode"
)

func isWord(c rune) bool { return c == '_' || unicode.In(c, unicode.L, unicode.N) }

func filterWordCount(r *renderer, v value, a arguments) value {
	a.none("wordcount")
	s := r.str(v)
	r.look(4 * len(s))
	n, inside := int64(0), false
	for _, c := range s {
		if isWord(c) && !inside {
			n++
		}
		inside = isWord(c)
	}
	return n
}

// filterWordWrap wraps lines as Python's textwrap does.
func filterWordWrap(r *renderer, v value, a arguments) value {
	b := a.bind("wordwrap", 0, "width", "break_long_words", "wrapstring", "break_on_hyphens")
	width, newline := b.count(0, 79), "\n"
	if b.or(2, nil) != nil {
		newline = b.text(2, "\n")
	}
	if width <= 0 {
		fail("invalid width %d (must be > 0)", width)
	}
	breakLong, hyphens := truth(b.or(1, true)), truth(b.or(3, true))
	s, ok := text(v)
	if !ok {
		fail("'%s' object has no attribute 'splitlines'", typeName(v))
	}
	r.allocTimes(len(s), valueSize)
	var lines []string
	for _, line := range splitLines(s, false) {
		lines = append(lines, r.joinStrings(r.wrap(chunks(line, hyphens), width, breakLong, hyphens), newline))
	}
	return like(v, r.joinStrings(lines, newline))
}

// chunks cuts a line into words and the space between them, words also after
// hyphens between letters.
func chunks(line string, hyphens bool) []string {
	var out []string
	space := func(c rune) bool { return strings.ContainsRune("\t\n\v\f\r ", c) }
	for line != "" {
		end := strings.IndexFunc(line, func(c rune) bool { return !space(c) })
		if end == 0 {
			end = strings.IndexFunc(line, space)
		}
		if end < 0 {
			end = len(line)
		}
		chunk := line[:end]
		line = line[end:]
		if !hyphens || space(rune(chunk[0])) {
			out = append(out, chunk)
			continue
		}
		runes := []rune(chunk)
		start := 0
		letter := func(i int) bool { return i >= 0 && i < len(runes) && unicode.IsLetter(runes[i]) }
		for i := 1; i < len(runes)-1; i++ {
			if runes[i] == '-' && letter(i-1) && (letter(i-2) || i-2 >= start && isWord(runes[i-2])) && letter(i+1) &&
				(letter(i+2) || i+2 < len(runes) && runes[i+2] == '-') {
				out = append(out, string(runes[start:i+1]))
				start = i + 1
			}
		}
		out = append(out, string(runes[start:]))
	}
	return out
}

func (r *renderer) wrap(chunks []string, width int, breakLong, hyphens bool) []string {
	var lines []string
	for len(chunks) > 0 {
		if len(lines) > 0 && strings.TrimFunc(chunks[0], isSpace) == "" {
			chunks = chunks[1:]
		}
		var line []string
		n := 0
		for len(chunks) > 0 {
			r.look(len(chunks[0]))
			size := runeCount(chunks[0])
			if n+size > width {
				break
			}
			line = append(line, chunks[0])
			n += size
			chunks = chunks[1:]
		}
		if len(chunks) > 0 && runeCount(chunks[0]) > width {
			room := max(width-n, 1)
			if breakLong {
				runes := []rune(chunks[0])
				r.alloc(4 * len(runes))
				if hyphens {
					if i := lastHyphen(runes[:min(room, len(runes))]); i > 0 {
						room = i + 1
					}
				}
				line = append(line, string(runes[:room]))
				chunks[0] = string(runes[room:])
			} else if len(line) == 0 {
				line = append(line, chunks[0])
				chunks = chunks[1:]
			}
		}
		if len(line) > 0 && strings.TrimFunc(line[len(line)-1], isSpace) == "" {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			lines = append(lines, r.joinStrings(line, ""))
		}
	}
	return lines
}

// lastHyphen is where a long word is broken after a hyphen, 0 for nowhere.
func lastHyphen(runes []rune) int {
	for i := len(runes) - 1; i > 0; i-- {
		if runes[i] == '-' {
			for _, c := range runes[:i] {
				if c != '-' {
					return i
				}
			}
		}
	}
	return 0
}
