package vocab

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ggufkit/ggufkit/gguf"
)

// Piece is one entry of a SentencePiece vocabulary.
type Piece struct {
	Text  string
	Score float32
	Type  gguf.TokenType
}

// SentencePiece is a model of SentencePiece's: what of it becomes metadata.
type SentencePiece struct {
	Pieces  []Piece
	Unigram bool // the scores are logarithms of probabilities, not the order of merges
	// What becomes of a text: a space in front, one for each run of spaces and none around
	// it, and other characters, by a table (precompiled_charsmap).
	AddPrefix, MergeSpaces bool
	Charsmap               []byte
}

// maxPieces is above the largest vocabularies (about 260,000) and bounds memory.
const maxPieces = 1 << 22

// The numbers of fields: of ModelProto and of SentencePiece in it.
const (
	piecesField     = 1
	trainerField    = 2
	normalizerField = 3

	textField  = 1
	scoreField = 2
	typeField  = 3

	modelTypeField    = 3 // of the trainer
	vocabSizeField    = 4
	byteFallbackField = 35

	nameField             = 1 // of the normalizer
	charsmapField         = 2
	addPrefixField        = 3
	mergeSpacesField      = 4
	escapeWhitespaceField = 5
)

// Values of modelTypeField; the first is the default.
const (
	unigramModel = 1
	bpeModel     = 2
)

// ParseSentencePiece reads a SentencePiece model, a protocol
// buffer of the message ModelProto in sentencepiece_model.proto. Like
// SentencePiece itself it refuses empty and repeated pieces and a model without
// exactly one unknown piece. The error wraps gguf.ErrCorrupt, or gguf.ErrUnsupported if
// its pieces are words or characters.
func ParseSentencePiece(data []byte) (*SentencePiece, error) {
	model := &SentencePiece{AddPrefix: true, MergeSpaces: true}
	pieces, modelType := model.Pieces, uint64(unigramModel)
	ids := make(map[string]int)
	unknown := -1
	err := fields(data, 0, func(num protowire.Number, value []byte, _ uint64, offset int) error {
		switch num {
		case piecesField:
		case trainerField:
			return fields(value, offset, func(num protowire.Number, _ []byte, number uint64, _ int) error {
				if num == modelTypeField {
					modelType = number
				}
				return nil
			})
		case normalizerField:
			return fields(value, offset, model.readNormalizer)
		default:
			return nil
		}
		if len(pieces) == maxPieces {
			return fmt.Errorf("more than %d pieces", maxPieces)
		}
		id := len(pieces)
		p, err := parsePiece(value, offset)
		switch {
		case err != nil:
			return fmt.Errorf("piece %d: %w", id, err)
		case p.Text == "":
			return fmt.Errorf("piece %d is empty", id)
		case p.Type == gguf.TokenUnknown && unknown >= 0:
			return fmt.Errorf("pieces %d and %d are both of type unknown", unknown, id)
		}
		if other, ok := ids[p.Text]; ok {
			return fmt.Errorf("pieces %d and %d are both %.80q", other, id, p.Text)
		}
		if p.Type == gguf.TokenUnknown {
			unknown = id
		}
		ids[p.Text] = id
		pieces = append(pieces, p)
		return nil
	})
	if err == nil && unknown < 0 {
		err = fmt.Errorf("no piece of type unknown among %d", len(pieces))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: not a SentencePiece model: %w", gguf.ErrCorrupt, err)
	}
	if modelType != unigramModel && modelType != bpeModel {
		return nil, unsupported("a SentencePiece model of type %d, words or characters", modelType)
	}
	model.Pieces, model.Unigram = pieces, modelType == unigramModel
	return model, nil
}

// readNormalizer reads a field of the message NormalizerSpec.
func (m *SentencePiece) readNormalizer(num protowire.Number, value []byte, number uint64, _ int) error {
	switch num {
	case charsmapField:
		m.Charsmap = value
	case addPrefixField:
		m.AddPrefix = number != 0
	case mergeSpacesField:
		m.MergeSpaces = number != 0
	case escapeWhitespaceField:
		if number == 0 {
			return errors.New("spaces are not spelled as ▁")
		}
	}
	return nil
}

// parsePiece reads the message SentencePiece, found at the given offset.
func parsePiece(data []byte, offset int) (Piece, error) {
	p := Piece{Type: gguf.TokenNormal} // which SentencePiece does not write
	err := fields(data, offset, func(num protowire.Number, value []byte, number uint64, _ int) error {
		switch num {
		case textField:
			p.Text = string(value)
			if !utf8.ValidString(p.Text) {
				return fmt.Errorf("%.80q is not UTF-8", p.Text)
			}
		case scoreField:
			p.Score = math.Float32frombits(uint32(number))
		case typeField:
			if number < uint64(gguf.TokenNormal) || number > uint64(gguf.TokenByte) {
				return fmt.Errorf("type %d", number)
			}
			p.Type = gguf.TokenType(number)
		}
		return nil
	})
	return p, err
}

// fields calls visit for every field of a message that starts at the given
// offset of the file: with its bytes if it is delimited and with its value as a
// number otherwise.
func fields(data []byte, offset int, visit func(num protowire.Number, value []byte, number uint64, offset int) error) error {
	for len(data) > 0 {
		num, typ, n := protowire.ConsumeTag(data)
		var value []byte
		var number uint64
		if n >= 0 {
			data, offset = data[n:], offset+n
			switch typ {
			case protowire.BytesType:
				value, n = protowire.ConsumeBytes(data)
			case protowire.VarintType:
				number, n = protowire.ConsumeVarint(data)
			case protowire.Fixed32Type:
				var v uint32
				v, n = protowire.ConsumeFixed32(data)
				number = uint64(v)
			case protowire.Fixed64Type:
				number, n = protowire.ConsumeFixed64(data)
			default:
				return fmt.Errorf("field %d of group type at offset %d", num, offset)
			}
		}
		if n < 0 {
			return fmt.Errorf("at offset %d: %w", offset, protowire.ParseError(n))
		}
		data, offset = data[n:], offset+n
		if err := visit(num, value, number, offset-len(value)); err != nil {
			return err
		}
	}
	return nil
}

// marshal is the reverse of ParseSentencePiece.
func (m *SentencePiece) marshal() []byte {
	var model []byte
	for _, p := range m.Pieces {
		piece := protowire.AppendString(protowire.AppendTag(nil, textField, protowire.BytesType), p.Text)
		piece = protowire.AppendFixed32(protowire.AppendTag(piece, scoreField, protowire.Fixed32Type), math.Float32bits(p.Score))
		if p.Type != gguf.TokenNormal {
			piece = protowire.AppendVarint(protowire.AppendTag(piece, typeField, protowire.VarintType), uint64(p.Type))
		}
		model = protowire.AppendBytes(protowire.AppendTag(model, piecesField, protowire.BytesType), piece)
	}
	number := func(message []byte, field protowire.Number, value uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(message, field, protowire.VarintType), value)
	}
	modelType, name := uint64(bpeModel), "identity"
	if m.Unigram {
		modelType = unigramModel
	}
	if len(m.Charsmap) > 0 {
		name = "user_defined"
	}
	trainer := number(nil, modelTypeField, modelType)
	trainer = number(trainer, vocabSizeField, uint64(len(m.Pieces)))
	hasBytes := slices.ContainsFunc(m.Pieces, func(p Piece) bool { return p.Type == gguf.TokenByte })
	trainer = number(trainer, byteFallbackField, protowire.EncodeBool(hasBytes))
	model = protowire.AppendBytes(protowire.AppendTag(model, trainerField, protowire.BytesType), trainer)
	normalizer := protowire.AppendString(protowire.AppendTag(nil, nameField, protowire.BytesType), name)
	if len(m.Charsmap) > 0 {
		normalizer = protowire.AppendBytes(protowire.AppendTag(normalizer, charsmapField, protowire.BytesType), m.Charsmap)
	}
	normalizer = number(normalizer, addPrefixField, protowire.EncodeBool(m.AddPrefix))
	normalizer = number(normalizer, mergeSpacesField, protowire.EncodeBool(m.MergeSpaces))
	normalizer = number(normalizer, escapeWhitespaceField, 1)
	return protowire.AppendBytes(protowire.AppendTag(model, normalizerField, protowire.BytesType), normalizer)
}
