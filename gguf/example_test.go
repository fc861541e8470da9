package gguf_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/gguf"
)

// halves is a Source of one tensor, whose elements are half of their number.
type halves struct{}

func (halves) Metadata() *gguf.Metadata {
	return gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "example"})
}

func (halves) Tensors() []gguf.TensorInfo {
	return []gguf.TensorInfo{{Name: "halves.weight", Type: gguf.F32, Shape: []int64{4, 3}}} // 3 rows of 4
}

func (h halves) ReadRows(dst []byte, tensor int, first, n int64) error {
	info := h.Tensors()[tensor]
	if err := info.CheckRows(dst, first, n); err != nil {
		return err
	}
	for i := range n * info.RowLen() {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(first*info.RowLen()+i)/2))
	}
	return nil
}

// Whatever has metadata, tensors and rows can be written as a file, and a file is read the same way.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	paths, err := gguf.Write(context.Background(), filepath.Join(dir, "halves.gguf"), halves{}, gguf.WriteOptions{})
	if err != nil {
		log.Fatal(err)
	}

	f, err := gguf.Open(paths[0])
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	architecture, err := gguf.Value[string](f.Metadata(), "general.architecture")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(architecture)
	for i, t := range f.Tensors() {
		last := make([]byte, t.RowBytes())
		if err := f.ReadRows(last, i, t.Rows()-1, 1); err != nil {
			log.Fatal(err)
		}
		fmt.Println(t.Name, t.Type, t.Shape, math.Float32frombits(binary.LittleEndian.Uint32(last)))
	}
	// Output:
	// example
	// halves.weight F32 [4 3] 4
}
