package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Summed is an Object of which somebody has said the SHA-256, in hexadecimal, or "".
type Summed interface {
	Object
	SHA256() string
}

// Pinned is an Object of which somebody has said what its bytes are.
type Pinned interface {
	Object
	// Pin returns what tells them from all others that it could have: a hash, or the name of a version. It is "" if nobody says.
	Pin() string
}

// Pin returns a hash, in hexadecimal, of what others say of the bytes of some files. It is "" if there is one of which nobody says it, so
// that it would have to be read.
func Pin(inputs []*File) string {
	sum := sha256.New()
	for _, f := range inputs {
		o, ok := f.Object.(Pinned)
		if !ok || o.Pin() == "" {
			return ""
		}
		fmt.Fprintln(sum, f.Size(), o.Pin())
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// KnownSum returns the SHA-256 of a file as whoever has it says it, "" if nobody does.
func KnownSum(file *File) string {
	if o, ok := file.Object.(Summed); ok {
		return o.SHA256()
	}
	return ""
}

// Sum returns the SHA-256 of a file as whoever has it says it, or else reads it for that.
func Sum(ctx context.Context, file *File) (string, error) {
	if sum := KnownSum(file); sum != "" {
		return sum, nil
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
