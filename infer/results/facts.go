package results

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Model returns what a model is, for Place.Facts. Of a quant.View it is what is made of what was read, not that: its source and
// importance matrix are to be facts, too. Else its data are read, unless their sum is known.
func Model(ctx context.Context, name string, src gguf.Source, known string) (gguf.Fact, error) {
	head, err := gguf.HeaderDigest(src)
	if err != nil {
		return gguf.Fact{}, err
	}
	fact := gguf.Fact{What: name, Is: fmt.Sprintf("SHA-256 of the header %x", head)}
	if _, ok := src.(*quant.View); ok {
		return fact, nil
	}
	if known == "" {
		hashes, err := gguf.Hash(ctx, src, nil)
		if err != nil {
			return gguf.Fact{}, err
		}
		known = fmt.Sprintf("%x", hashes.Data)
	}
	fact.Is += ", of the data " + known
	return fact, nil
}
