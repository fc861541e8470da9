package imatrix_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// An importance matrix is sums of squares, written as a GGUF file, and read as means.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	sums := imatrix.Sums{Datasets: []string{"text.txt"}, Chunks: 1, ChunkSize: 512}
	if err := sums.Add("blk.0.attn_q.weight", 0, 1, 10, []float64{40, 10, 0, 90}); err != nil { // of 10 vectors
		log.Fatal(err)
	}
	src, err := sums.Source()
	if err != nil {
		log.Fatal(err)
	}
	paths, err := gguf.Write(context.Background(), filepath.Join(dir, "imatrix.gguf"), src, gguf.WriteOptions{})
	if err != nil {
		log.Fatal(err)
	}

	m, err := imatrix.Open(paths[0])
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	importance := make([]float32, m.Values("blk.0.attn_q.weight"))
	if err := m.Read(importance, "blk.0.attn_q.weight", 0); err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Tensors(), importance)
	// Output: [blk.0.attn_q.weight] [4 1 0 9]
}
