package kernel_test

import (
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

func TestDotsStayWithinTheirSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEachVariant(t, func(t *testing.T) {
		for _, start := range []bool{false, true} {
			for _, n := range []int{1, 63, 64, 65, 200} {
				x, y := guarded(t, n, start), guarded(t, n, start)
				require.NotPanics(t, func() {
					kernel.Dot(x, y)
					kernel.AddScaled(x, y, 2)
				}, "%d elements", n)
			}
			for _, typ := range rowTypes {
				const vectors = 2
				floats := 2 * int(typ.RowBytes(256*vectors)) / 4
				row := unsafe.Slice((*byte)(unsafe.Pointer(&guarded(t, floats, start)[0])), 4*floats)
				size := int(unsafe.Sizeof(kernel.Vector8{})) / 4
				x := unsafe.Slice((*kernel.Vector8)(unsafe.Pointer(&guarded(t, vectors*size, start)[0])), vectors)
				require.NotPanics(t, func() {
					if kernel.CanDotRows(typ) {
						kernel.DotRows(typ, guarded(t, 2, start), row, x)
					}
				}, "%s", typ)
			}
			for _, typ := range floatTypes {
				for _, n := range []int{16, 64, 112} {
					floats := 3 * int(typ.RowBytes(int64(n))) / 4
					rows := unsafe.Slice((*byte)(unsafe.Pointer(&guarded(t, floats, start)[0])), 4*floats)
					require.NotPanics(t, func() {
						if kernel.CanDotFloatRows(typ, n) {
							kernel.DotFloatRows(typ, guarded(t, 3, start), rows, guarded(t, n, start))
							kernel.AddFloatRows(typ, guarded(t, n, start), rows, n, guarded(t, 3, start))
						}
					}, "%s, %d elements", typ, n)
				}
			}
		}
	})
}
