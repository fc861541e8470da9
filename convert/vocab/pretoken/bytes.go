package pretoken

// ByteRunes has the characters that tokens spell bytes with: printable ones of
// Latin-1 themselves, the others by those from U+0100 on.
var ByteRunes = func() (chars [256]rune) {
	next := rune(0x100)
	for b := range chars {
		r := rune(b)
		if r >= '!' && r <= '~' || r >= '¡' && r <= '¬' || r >= '®' {
			chars[b] = r
			continue
		}
		chars[b] = next
		next++
	}
	return chars
}()

// ByteOf is the inverse of ByteRunes.
func ByteOf(r rune) (b byte, ok bool) {
	b, ok = runeBytes[r]
	return b, ok
}

var runeBytes = func() map[rune]byte {
	bytes := make(map[rune]byte, len(ByteRunes))
	for b, r := range ByteRunes {
		bytes[r] = byte(b)
	}
	return bytes
}()

// alphabet is the set of ByteRunes.
var alphabet = func() runes {
	var set runes
	for _, r := range ByteRunes {
		set = append(set, r, r)
	}
	return set.normal()
}()
