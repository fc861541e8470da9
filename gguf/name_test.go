package gguf_test

import (
	"fmt"
	"math"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
)

func TestSplitName(t *testing.T) {
	for name, want := range map[string]struct {
		layer int
		part  string
	}{
		"blk.0.attn_q.weight":  {0, "attn_q.weight"},
		"blk.17.a":             {17, "a"},
		"blk.007.a":            {7, "a"},
		"blk.2147483647.a":     {math.MaxInt32, "a"},
		"blk.3.":               {3, ""},
		"blk.3..a":             {3, ".a"},
		"blk.2147483648.a":     {-1, "blk.2147483648.a"},
		"blk.99999999999999.a": {-1, "blk.99999999999999.a"},
		"blk.3":                {-1, "blk.3"},
		"blk.":                 {-1, "blk."},
		"blk..a":               {-1, "blk..a"},
		"blk.-1.a":             {-1, "blk.-1.a"},
		"blk.+1.a":             {-1, "blk.+1.a"},
		"blk. 1.a":             {-1, "blk. 1.a"},
		"blk.1_0.a":            {-1, "blk.1_0.a"},
		"blk.x.a":              {-1, "blk.x.a"},
		"blk.1x.a":             {-1, "blk.1x.a"},
		"dec.blk.1.a":          {-1, "dec.blk.1.a"},
		"output.weight":        {-1, "output.weight"},
		"":                     {-1, ""},
	} {
		layer, part := gguf.SplitName(name)
		require.Equal(t, want.layer, layer, name)
		require.Equal(t, want.part, part, name)
	}
}

func TestSplitNameOfAnyName(t *testing.T) {
	pattern := regexp.MustCompile(`(?s)^blk\.(\d+)\.(.*)$`)
	rapid.Check(t, func(t *rapid.T) {
		layer, part := rapid.IntRange(0, math.MaxInt32).Draw(t, "layer"), rapid.String().Draw(t, "part")
		got, rest := gguf.SplitName(fmt.Sprintf("blk.%d.%s", layer, part))
		require.Equal(t, layer, got)
		require.Equal(t, part, rest)

		name := rapid.StringMatching(`(blk|dec)?\.?-?\d{0,12}x?\.?.{0,4}`).Draw(t, "name")
		got, rest = gguf.SplitName(name)
		if m := pattern.FindStringSubmatch(name); m != nil && got >= 0 {
			require.Equal(t, m[2], rest)
			return
		}
		require.Equal(t, -1, got)
		require.Equal(t, name, rest)
	})
}
