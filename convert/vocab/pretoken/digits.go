package pretoken

import (
	"unicode/utf8"
)

// Expressions that group digits by three from the right, as 1 234 567.
const (
	digitsToBoundary = `\d{1,3}(?=(?:\d{3})*\b)`
	numbersToOther   = `\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`
	beforeThree      = `(?=(\d{3})+(?!\d))`
)

// byHand cuts with expressions that look ahead to the end of a run from each place in it, in linear time.
var byHand = map[string]func(text string, visit func(word string)){
	digitsToBoundary: func(text string, visit func(string)) {
		digitsFromRight(text, isDecimal, func(next string) bool { return one(next, wordCharacters().has) == 0 }, true, visit)
	},
	numbersToOther: func(text string, visit func(string)) {
		digitsFromRight(text, isNumber, func(string) bool { return true }, true, visit)
	},
	beforeThree: func(text string, visit func(string)) {
		digitsFromRight(text, isDecimal, func(string) bool { return true }, false, visit)
	},
}

// digitsFromRight cuts runs of digits, if what comes next allows it, before every third digit from the
// right. If they are apart it also cuts at both ends of the run.
func digitsFromRight(text string, digit func(rune) bool, allows func(next string) bool, apart bool, visit func(word string)) {
	start := 0
	cut := func(at int) {
		if start < at {
			visit(text[start:at])
			start = at
		}
	}
	for i := 0; i < len(text); {
		n := run(text[i:], digit)
		end := i + n
		switch {
		case n == 0:
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
			continue
		case allows(text[end:]):
			if apart {
				cut(i)
			}
			for count := utf8.RuneCountInString(text[i:end]); i < end; count-- {
				if count%3 == 0 {
					cut(i)
				}
				i += one(text[i:], digit)
			}
			if apart {
				cut(end)
			}
		}
		i = end
	}
	cut(len(text))
}
