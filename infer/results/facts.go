package results

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Model returns what a model is, for Place.Facts. Of a quant.View it is the types that its tensors have: its source and
// importance matrix are to be facts, too. Of others it is the sum of their headers, and that of their data if it is known; if not, their
// gguf.Pin, or, if there is none, again that of their data, which are read.
func Model(ctx context.Context, name string, src gguf.Source, known string) (gguf.Fact, error) {
	if _, ok := src.(*quant.View); ok {
		sum := sha256.New()
		for _, t := range src.Tensors() {
			fmt.Fprintln(sum, t.Name, t.Type, t.Shape)
		}
		return gguf.Fact{What: name, Is: fmt.Sprintf("SHA-256 of the types %x", sum.Sum(nil))}, nil
	}
	head, err := gguf.HeaderDigest(src)
	if err != nil {
		return gguf.Fact{}, err
	}
	if pin := gguf.Pin(src); pin != "" && known == "" {
		return gguf.Fact{What: name, Is: fmt.Sprintf("SHA-256 of the header %x, of what is said of its files %s", head, pin)}, nil
	}
	if known == "" {
		hashes, err := gguf.Hash(ctx, src, nil)
		if err != nil {
			return gguf.Fact{}, err
		}
		known = fmt.Sprintf("%x", hashes.Data)
	}
	return gguf.Fact{What: name, Is: fmt.Sprintf("SHA-256 of the header %x, of the data %s", head, known)}, nil
}
