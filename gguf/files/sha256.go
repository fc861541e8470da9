package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
)

// Summed is an Object of which somebody has said the SHA-256, in hexadecimal, or "".
type Summed interface {
	Object
	SHA256() string
}

// Sum returns the SHA-256 of a file as whoever has it says it, or else reads it for that.
func Sum(ctx context.Context, file *File) (string, error) {
	if o, ok := file.Object.(Summed); ok && o.SHA256() != "" {
		return o.SHA256(), nil
	}
	return SHA256(ctx, file)
}

// SHA256 returns the hash of a file in hexadecimal. It ends early with ctx.
func SHA256(ctx context.Context, file *File) (string, error) {
	return SHA256Of(ctx, io.NewSectionReader(file, 0, file.Size()))
}

// SHA256Of returns the hash of what r has.
func SHA256Of(ctx context.Context, r io.Reader) (string, error) {
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		n, err := r.Read(buf)
		sum.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return "", err
		}
	}
}
