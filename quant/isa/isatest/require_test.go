package isatest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/isa"
)

func TestMissing(t *testing.T) {
	require.Empty(t, missing(""))
	require.Empty(t, missing("generic,"+isa.Current().String()))
	require.Equal(t, []string{"sse9"}, missing("Generic,SSE9,"))
	// No machine can do both.
	require.NotEmpty(t, missing("avx2,neon"))
	require.NotEmpty(t, missing("avxvnni,i8mm"))
	for _, e := range isa.Extensions(isa.Current()) {
		require.Empty(t, missing(e.String()))
	}
}
