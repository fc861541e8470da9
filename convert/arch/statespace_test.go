package arch

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExp: of every 997th float32 between 2^-30 and 128, and of those negated, exp gives what
// torch.exp of PyTorch 2.14.1 does on a CPU with AVX-512, or with AVX2. logOf finds what it is of.
func TestExp(t *testing.T) {
	var all bytes.Buffer
	for _, sign := range []float32{1, -1} {
		for bits := uint32(0x30800000); bits < 0x43000000; bits += 997 {
			x := sign * math.Float32frombits(bits)
			v := exp(x)
			require.NoError(t, binary.Write(&all, binary.LittleEndian, v))
			if bits%64 == 0 && v > 0 && v < math.MaxFloat32 {
				require.Equal(t, v, exp(logOf(v)), x)
			}
		}
	}
	sum := sha256.Sum256(all.Bytes())
	require.Equal(t, "4e9a2030376b654b", hex.EncodeToString(sum[:8]))
	require.Zero(t, exp(float32(math.Inf(-1))))
	require.Equal(t, float32(math.Inf(1)), exp(float32(math.Inf(1))))
	require.True(t, math.IsNaN(float64(exp(float32(math.NaN())))))
}
