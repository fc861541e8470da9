package tokenizer_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ggufkit/ggufkit/gguf"
)

const moe = "../../testdata/beyonder-mini/moe/"

// beyonderMini returns the vocabulary of testdata's trained model.
func beyonderMini(t testing.TB) *gguf.Metadata {
	model, err := os.ReadFile(moe + "tokenizer.model")
	require.NoError(t, err)
	var v vocabulary
	for len(model) > 0 {
		num, wire, n := protowire.ConsumeTag(model)
		model = model[n:]
		if num != 1 {
			model = model[protowire.ConsumeFieldValue(num, wire, model):]
			continue
		}
		piece, n := protowire.ConsumeBytes(model)
		model = model[n:]
		v.Tokens, v.Scores, v.Types = append(v.Tokens, ""), append(v.Scores, 0), append(v.Types, normal)
		i := len(v.Tokens) - 1
		for len(piece) > 0 {
			num, _, n := protowire.ConsumeTag(piece)
			piece = piece[n:]
			switch num {
			case 1:
				v.Tokens[i], n = protowire.ConsumeString(piece)
			case 2:
				bits, m := protowire.ConsumeFixed32(piece)
				v.Scores[i], n = math.Float32frombits(bits), m
			case 3:
				typ, m := protowire.ConsumeVarint(piece)
				v.Types[i], n = int32(typ), m
			}
			piece = piece[n:]
		}
	}
	added := readAdded(t)
	for range added {
		for token, id := range added {
			if id == len(v.Tokens) {
				v.add(token, -1000, control)
			}
		}
	}
	return v.metadata()
}

func readAdded(t testing.TB) map[string]int {
	data, err := os.ReadFile(moe + "added_tokens.json")
	require.NoError(t, err)
	var added map[string]int
	require.NoError(t, json.Unmarshal(data, &added))
	return added
}
