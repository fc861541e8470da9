package tokenizer

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// byteLevel is a vocabulary of byte-level BPE, GPT-2's: a word is at first its
// bytes, each a token, and neighbours are merged in the order of a list.
type byteLevel struct {
	*Tokenizer
	*pretoken.PreTokenizer
	nfc    bool             // text is brought into Unicode's normal form C
	bytes  [256]int32       // tokens of single bytes
	words  map[string]int32 // tokens by their bytes, if whole words become tokens
	merges map[[2]int32]merge
}

// merge is what two tokens become.
type merge struct {
	id    int32
	score float32 // the earlier in the list, the higher
}

// maxMerges is the number of whole numbers that float32 has.
const maxMerges = 1 << 24

// newByteLevel reads what is byte-level BPE's own in the metadata.
func newByteLevel(t *Tokenizer, meta *gguf.Metadata) (*byteLevel, error) {
	name, err := gguf.Value[string](meta, "tokenizer.ggml.pre")
	if err != nil {
		return nil, err
	}
	b := &byteLevel{Tokenizer: t}
	var ok bool
	if b.PreTokenizer, ok = pretoken.Find(name); !ok {
		return nil, fmt.Errorf("%w: tokenizer.ggml.pre is %.80q, byte-level vocabularies are known with %s", gguf.ErrUnsupported, name,
			strings.Join(pretoken.Known(), ", "))
	}
	if err := b.readNormalizer(meta); err != nil {
		return nil, err
	}
	ids := make(map[string]int32, len(t.pieces))
	for id, piece := range t.pieces {
		ids[piece] = int32(id)
	}
	for i := range b.bytes {
		id, ok := ids[string(pretoken.ByteRunes[i])]
		if !ok {
			return nil, fmt.Errorf("%w: tokenizer.ggml.tokens has no token %q for byte %d", gguf.ErrCorrupt, string(pretoken.ByteRunes[i]), i)
		}
		b.bytes[i] = id
	}
	if b.IgnoreMerges {
		b.words = make(map[string]int32, len(t.pieces))
		for i := range t.pieces {
			if id := int32(i); t.types[id] == gguf.TokenNormal {
				b.words[string(b.appendBytes(nil, id))] = id
			}
		}
	}
	b.merges, err = readMerges(meta, ids)
	return b, err
}

func (b *byteLevel) readNormalizer(meta *gguf.Metadata) error {
	for _, name := range []string{"lowercase", "strip_accents"} {
		key := "tokenizer.ggml.normalizer." + name
		if set, err := valueOr(meta, key, false); err != nil {
			return err
		} else if set {
			return fmt.Errorf("%w: %s asks for normalized text", gguf.ErrUnsupported, key)
		}
	}
	var err error
	b.nfc, err = valueOr(meta, "tokenizer.ggml.normalizer.nfc", false)
	return err
}

// readMerges reads the list of merges of tokens with the given ids.
func readMerges(meta *gguf.Metadata, ids map[string]int32) (map[[2]int32]merge, error) {
	list, err := gguf.Value[[]string](meta, "tokenizer.ggml.merges")
	if err != nil {
		return nil, err
	}
	if len(list) > maxMerges {
		return nil, fmt.Errorf("%w: tokenizer.ggml.merges has %d merges", gguf.ErrCorrupt, len(list))
	}
	merges := make(map[[2]int32]merge, len(list))
	for i, text := range list {
		left, right, _ := strings.Cut(text, " ")
		leftID, ok1 := ids[left]
		rightID, ok2 := ids[right]
		id, ok3 := ids[left+right]
		if !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("%w: tokenizer.ggml.merges: merge %d %.80q is not of two tokens to a third", gguf.ErrCorrupt, i, text)
		}
		pair := [2]int32{leftID, rightID}
		if _, ok := merges[pair]; !ok {
			merges[pair] = merge{id, -float32(i)}
		}
	}
	return merges, nil
}

func (b *byteLevel) spacePrefix() bool { return false }

// appendBytes implements vocabulary. A token with a character that spells no
// byte is the text that it shows, as in Hugging Face's tokenizers.
func (b *byteLevel) appendBytes(dst []byte, id int32) []byte {
	start := len(dst)
	for _, r := range b.pieces[id] {
		c, ok := pretoken.ByteOf(r)
		if !ok {
			return append(dst[:start], b.pieces[id]...)
		}
		dst = append(dst, c)
	}
	return dst
}

func (b *byteLevel) encode(ids []int32, text string) []int32 {
	if b.nfc {
		text = compose(text)
	}
	var s symbols
	b.Split(text, func(word string) {
		if id, ok := b.words[word]; ok {
			ids = append(ids, id)
			return
		}
		for i := range len(word) {
			s.add(i, i+1, b.bytes[word[i]])
		}
		s.merge(b, func(s *symbol) { ids = append(ids, s.id) })
	})
	return ids
}

// join implements joiner.
func (b *byteLevel) join(left, right *symbol) (id int32, score float32, ok bool) {
	m, ok := b.merges[[2]int32{left.id, right.id}]
	return m.id, m.score, ok
}
