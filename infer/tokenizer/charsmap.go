package tokenizer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/gguf"
)

// charsmap is SentencePiece's precompiled_charsmap, which says what becomes of sequences of
// characters: a trie of them, in the double array of Darts (Yata's Darts-clone), whose values
// are offsets of what they become.
type charsmap struct {
	units        []uint32
	replacements []byte // each ends with a zero
}

// maxReplacement is the length of a sequence of characters and of what it becomes, in bytes:
// far above that of real ones (33).
const maxReplacement = 1 << 8

// newCharsmap reads the size of the double array in bytes, the array, and the replacements.
func newCharsmap(blob []byte) (*charsmap, error) {
	corrupt := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+charsmapKey+": "+format, append([]any{gguf.ErrCorrupt}, args...)...)
	}
	if len(blob) < 4 {
		return nil, corrupt("%d bytes", len(blob))
	}
	size, rest := binary.LittleEndian.Uint32(blob), blob[4:]
	if size == 0 || size%4 != 0 || uint64(size) > uint64(len(rest)) {
		return nil, corrupt("a trie of %d bytes among %d", size, len(rest))
	}
	c := &charsmap{make([]uint32, size/4), rest[size:]}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	if n := len(c.replacements); n > 0 && c.replacements[n-1] != 0 {
		return nil, corrupt("a replacement does not end")
	}
	for r := range bytes.SplitSeq(c.replacements, []byte{0}) {
		if len(r) > maxReplacement {
			return nil, corrupt("a replacement of %d bytes, more than %d", len(r), maxReplacement)
		}
		if !utf8.Valid(r) {
			return nil, corrupt("replacement %.80q is not UTF-8", r)
		}
	}
	return c, nil
}

// find returns the length of the longest sequence that a text begins with, 0 if there is none,
// and what becomes of it.
func (c *charsmap) find(text string) (n int, replacement []byte) {
	unit := func(at uint32) uint32 { // zero is no child of anything
		if uint64(at) >= uint64(len(c.units)) {
			return 0
		}
		return c.units[at]
	}
	offset := func(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }
	at := offset(unit(0))
	for i := range min(len(text), maxReplacement) {
		b := text[i]
		at ^= uint32(b)
		u := unit(at)
		if b == 0 || u&(1<<31|0xff) != uint32(b) { // the label; values have the highest bit
			break
		}
		at ^= offset(u)
		if u&(1<<8) == 0 { // no value
			continue
		}
		if value := unit(at) &^ (1 << 31); uint64(value) < uint64(len(c.replacements)) {
			n = i + 1
			replacement, _, _ = bytes.Cut(c.replacements[value:], []byte{0})
		}
	}
	return n, replacement
}

// normalize returns a text with its sequences replaced, the longest first, from left to right.
// Bytes that are not UTF-8 become U+FFFD.
func (c *charsmap) normalize(text string) string {
	var b strings.Builder
	for text != "" {
		n, replacement := c.find(text)
		if n > 0 {
			b.Write(replacement)
		} else {
			var r rune
			r, n = utf8.DecodeRuneInString(text)
			b.WriteRune(r)
		}
		text = text[n:]
	}
	return b.String()
}
