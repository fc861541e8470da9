package gguf

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever the order of the pieces is, and whether too many come early, the sum is that of the file.
func TestSum(t *testing.T) {
	file := make([]byte, 10_000)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range file {
		file[i] = byte(random.Uint32())
	}
	want := fmt.Sprintf("%x", sha256.Sum256(file))
	for _, most := range []int64{0, 500, 3000, 20_000} {
		for range 20 {
			type piece struct{ from, to int }
			var pieces []piece
			for from := 0; from < len(file); {
				to := min(len(file), from+1+random.IntN(700))
				pieces, from = append(pieces, piece{from, to}, piece{to, to}), to
			}
			random.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
			s := newSum(most)
			for _, p := range pieces {
				s.add(file[p.from:p.to], int64(p.from))
				require.LessOrEqual(t, s.held, most+700)
			}
			got, err := s.of(t.Context(), bytes.NewReader(file), int64(len(file)))
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
	s := newSum(20_000) // of pieces in order nothing is kept, and nothing is read
	for from := 0; from < len(file); from += 1000 {
		s.add(file[from:from+1000], int64(from))
		require.Empty(t, s.early)
	}
	got, err := s.of(t.Context(), nil, int64(len(file)))
	require.NoError(t, err)
	require.Equal(t, want, got)
	s = newSum(20_000) // a piece that is missing is read
	s.add(file[:9000], 0)
	got, err = s.of(t.Context(), bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	require.Equal(t, want, got)
}
