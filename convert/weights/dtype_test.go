package weights_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/weights"
)

func TestFloat32(t *testing.T) {
	le := binary.LittleEndian
	for _, tt := range []struct {
		dtype weights.Dtype
		raw   []byte
		want  float32
	}{
		{weights.F64, le.AppendUint64(nil, math.Float64bits(0.1)), 0.1},
		{weights.F8E4M3, []byte{0x01}, 1. / 512},
		{weights.F8E4M3, []byte{0x08}, 1. / 64},
		{weights.F8E4M3, []byte{0x38}, 1},
		{weights.F8E4M3, []byte{0x7e}, 448},
		{weights.F8E4M3, []byte{0xfe}, -448},
		{weights.F8E5M2, []byte{0x01}, 1. / 65536},
		{weights.F8E5M2, []byte{0x3c}, 1},
		{weights.F8E5M2, []byte{0xfb}, -57344},
		{weights.F8E5M2, []byte{0x7c}, float32(math.Inf(1))},
		{weights.F8E8M0, []byte{0}, float32(math.Ldexp(1, -127))},
		{weights.F8E8M0, []byte{130}, 8},
		{weights.I64, le.AppendUint64(nil, math.MaxUint64), -1},
		{weights.U64, le.AppendUint64(nil, math.MaxUint64), 1 << 63 * 2},
		{weights.I32, le.AppendUint32(nil, 1<<31), -1 << 31},
		{weights.U32, le.AppendUint32(nil, 1<<31), 1 << 31},
		{weights.I16, []byte{0, 0x80}, -32768},
		{weights.U16, []byte{0, 0x80}, 32768},
		{weights.I8, []byte{0x80}, -128},
		{weights.U8, []byte{0x80}, 128},
		{weights.Bool, []byte{2}, 1},
		{weights.Bool, []byte{0}, 0},
	} {
		var got [1]float32
		tt.dtype.Float32(got[:], tt.raw)
		require.Equal(t, tt.want, got[0], "%s %x", tt.dtype, tt.raw)
	}
	for _, nan := range []struct {
		dtype weights.Dtype
		raw   byte
	}{{weights.F8E4M3, 0x7f}, {weights.F8E4M3, 0xff}, {weights.F8E5M2, 0x7d}, {weights.F8E8M0, 0xff}} {
		var got [1]float32
		nan.dtype.Float32(got[:], []byte{nan.raw})
		require.True(t, math.IsNaN(float64(got[0])), "%s %x", nan.dtype, nan.raw)
	}
}
