package gguf

import (
	"context"
	"crypto/sha256"
	"io"
)

// Digest is a SHA-256 sum.
type Digest [sha256.Size]byte

// Hashes are the SHA-256 sums of the tensors of a Source.
type Hashes struct {
	// Data is the sum over the bytes of all tensors in file order, without
	// names, metadata or padding: equal for files that hold the same weights.
	Data Digest
	// Tensors has the sum of each tensor's bytes, in the order of Tensors.
	Tensors []Digest
}

// Hash reads every tensor of src once and sums its little-endian bytes.
// Progress, if not nil, is called with the bytes done so far and in all.
func Hash(ctx context.Context, src Source, progress func(done, total int64)) (Hashes, error) {
	tensors := src.Tensors()
	meter := progressMeter{report: progress}
	for _, t := range tensors {
		meter.total += t.Bytes()
	}
	hashes := Hashes{Tensors: make([]Digest, len(tensors))}
	data := sha256.New()
	var buf []byte
	for i, t := range tensors {
		tensor := sha256.New()
		both := io.MultiWriter(data, tensor)
		rows := chunkRows(src, i, t.RowBytes())
		for first := int64(0); first < t.Rows(); first += rows {
			if err := ctx.Err(); err != nil {
				return Hashes{}, err
			}
			n := min(rows, t.Rows()-first)
			if int64(cap(buf)) < n*t.RowBytes() {
				buf = make([]byte, n*t.RowBytes())
			}
			buf = buf[:n*t.RowBytes()]
			if err := src.ReadRows(buf, i, first, n); err != nil {
				return Hashes{}, err
			}
			if _, err := both.Write(buf); err != nil {
				return Hashes{}, err
			}
			meter.add(int64(len(buf)))
		}
		tensor.Sum(hashes.Tensors[i][:0])
	}
	data.Sum(hashes.Data[:0])
	return hashes, nil
}
