package packed

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// TestIntegers: all integers that a type is taken for are in its blocks.
func TestIntegers(t *testing.T) {
	for _, tt := range []struct {
		least, most int
		want        gguf.Type
	}{{-8, 7, gguf.Q4_0}, {-4, 3, gguf.Q4_0}, {-8, 8, gguf.Q5_0}, {-15, 15, gguf.Q5_0}, {-17, 0, gguf.Q8_0}, {-128, 127, gguf.Q8_0}} {
		width := tt.most - tt.least + 1
		const k, rows = 64, 40
		number := func(i int) int { return tt.least + i*7%width }
		b := integers{k: k, least: tt.least, most: tt.most, read: func(q []int8, d []uint16, first, _ int64) error {
			for i := range q {
				q[i] = int8(number(int(first*k) + i))
			}
			for i := range d {
				d[i] = 0x3800 // 0.5
			}
			return nil
		}}.blocks()
		require.Equal(t, tt.want, b.Type)
		raw, values := make([]byte, tt.want.RowBytes(k)*(rows-1)), make([]float32, (rows-1)*k)
		require.NoError(t, b.Read(raw, 1, rows-1))
		require.NoError(t, quant.Dequantize(b.Type, values, raw, k))
		for i, v := range values {
			require.Equal(t, float32(number(k+i))/2, v)
		}
	}
	require.Nil(t, integers{k: 64, least: -128, most: 128}.blocks())
	require.Nil(t, integers{k: 48, least: -8, most: 7}.blocks())
}

// TestFloat16: a number is a float16 if it comes back from there.
func TestFloat16(t *testing.T) {
	var raw [2]byte
	back := func(f float32) float32 {
		values := []float32{f}
		weights.F16.Encode(raw[:], values)
		weights.F16.Float32(values, raw[:])
		return values[0]
	}
	for h := range 1 << 16 {
		binary.LittleEndian.PutUint16(raw[:], uint16(h))
		var f [1]float32
		weights.F16.Float32(f[:], raw[:])
		bits := math.Float32bits(f[0])
		for _, delta := range []uint32{0, 1, math.MaxUint32, 1 << 12, 1 << 13, 1 << 20} {
			v := math.Float32frombits(bits + delta)
			got, ok := float16(v)
			finite := !math.IsInf(float64(v), 0) && !math.IsNaN(float64(v))
			require.Equal(t, finite && back(v) == v, ok, v)
			if ok {
				require.Equal(t, binary.LittleEndian.Uint16(raw[:]), got)
			}
		}
	}
}
