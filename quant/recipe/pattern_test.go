package recipe

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

// patternNames are names of tensors, the last of them with an é in UTF-8.
var patternNames = []string{
	"output.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.11.ffn_up_exps.weight", "blk.1.a-b.weight",
	"blk.1.a]b.weight", "blk.1.abab.weight", `blk.1.a\b.weight`, "blk.1.A.weight", "blk.1.café.weight",
}

const refused = "refused"

// patterns says which of patternNames llama-quantize 0.7.0 finds a pattern in
// (--dry-run --tensor-type PATTERN=q8_0), and what it refuses.
var patterns = map[string]string{
	`attn`:                 "0100000000",
	`ATTN_Q`:               "0100000000",
	`^blk\.1\.`:            "0010111111",
	`weight$`:              "1111111111",
	`^output`:              "1000000000",
	`blk\.(?!0\.)\d+\.ffn`: "0011000000",
	`(?!.*attn)blk`:        "0011111111",
	`^(?!blk)`:             "1000000000",
	`blk(?!^\.0)`:          "0011111111",
	`(?!^blk)b`:            "0000111100",
	`(?!\bblk)b`:           "0000111100",
	`(a.)\1`:               "0000001000",
	`(\d)\1`:               "0001000000",
	`(a)?\1b`:              "0000000000",
	`(a)|\1b`:              "0100111101",
	`(a\1)`:                refused,
	`\1(a)`:                refused,
	`\10`:                  refused,
	`blk\.[0-3]\.`:         "0110111111",
	`[[:digit:]]{2}`:       "0001000000",
	`[[:w:]]+-`:            "0000100000",
	`[[:foo:]]`:            refused,
	`[[:alpha:]`:           refused,
	`[[.hyphen.]]`:         "0000100000",
	`[[.a.]-c]`:            "0111111111",
	`[a-[.c.]]`:            refused,
	`[[.nul.]]`:            refused,
	`[]`:                   "0000000000",
	`[^]`:                  "1111111111",
	`[]a]`:                 "0000000000",
	`[^]a]`:                "0000010000",
	`[\d-z]`:               refused,
	`[a-\d]`:               refused,
	`[\d-]`:                "0111111111",
	`[--a]`:                "1111111111",
	`[a-]`:                 "0100111101",
	`[z-a]`:                refused,
	`[a`:                   refused,
	`[\1]`:                 refused,
	`[\b]`:                 "0000000000",
	`[\]]`:                 "0000010000",
	`a{2}`:                 "0000000000",
	`(ab){2}`:              "0000001000",
	`(ab){2,}`:             "0000001000",
	`a{1,`:                 refused,
	`a{`:                   refused,
	`a{}`:                  refused,
	`a{,2}`:                refused,
	`a{2,1}`:               refused,
	`{2}`:                  refused,
	`a{99999999999}`:       refused,
	`*a`:                   refused,
	`a**`:                  "1111111111",
	`a+?`:                  "0100111101",
	`a??*`:                 "1111111111",
	`^*`:                   refused,
	`\b*`:                  refused,
	`(?!a)*`:               refused,
	`(|x)`:                 "1111111111",
	`()`:                   "1111111111",
	`a||b`:                 "1111111111",
	`|`:                    "1111111111",
	`(`:                    refused,
	`)`:                    refused,
	`(a`:                   refused,
	`(?<=a)b`:              refused,
	`(?<n>a)`:              refused,
	`(?i)attn`:             refused,
	`(?`:                   refused,
	`]`:                    "0000010000",
	`}`:                    "0000000000",
	`a\]b`:                 "0000010000",
	`a]b`:                  "0000010000",
	`\d\d`:                 "0001000000",
	`\D\D`:                 "0001000000",
	`\s`:                   "0000000000",
	`\bffn`:                "0011000000",
	`caf.\.`:               "0000000000",
	`caf..\.`:              "0000000001",
	`caf\w`:                "0000000000",
	`\x61b`:                "0000001000",
	`\u0061b`:              "0000001000",
	`\x6`:                  refused,
	`\cab`:                 "0000001000",
	`\ca`:                  "0100111101",
	`\c`:                   refused,
	`\0`:                   "0000000000",
	`\a\-b`:                "0000100000",
	`\z`:                   "0000000000",
	`\\`:                   "0000000100",
	`a\`:                   refused,
}

func TestPatternsAreThoseOfLlamaQuantize(t *testing.T) {
	for text, want := range patterns {
		p, err := compilePattern(lowerASCII(text))
		if want == refused {
			require.Error(t, err, text)
			continue
		}
		require.NoError(t, err, text)
		got := ""
		for _, name := range patternNames {
			found, err := p.match(name)
			require.NoError(t, err)
			got += map[bool]string{false: "0", true: "1"}[found]
		}
		require.Equal(t, want, got, text)
	}
}

// Patterns on which std::regex takes exponential time, or all the stack there is.
func TestHostilePatterns(t *testing.T) {
	name := strings.Repeat("a", 64)
	for _, text := range []string{`(a*)*b`, `(a|a)*b`, `(.*){9}{9}{9}b`, strings.Repeat("a?", 64) + strings.Repeat("a", 64) + "b",
		strings.Repeat("a", maxPattern)} {
		p, err := compilePattern(text)
		require.NoError(t, err)
		require.NotNil(t, p.linear, "no back-references, so it takes linear time")
		found, err := p.match(name)
		require.NoError(t, err)
		require.False(t, found)
	}
	name = strings.Repeat("ab", 28) + ".weight"
	for _, text := range []string{`^(a|b|ab)*(?!y)[xyz]`, `^(a|b|ab)*\1[xyz]`} {
		p, err := compilePattern(text)
		require.NoError(t, err)
		p.backtracking.MatchTimeout = time.Millisecond
		_, err = p.match(name)
		require.ErrorContains(t, err, "takes too long")

		meta := gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"}, gguf.KV{Key: "llama.block_count", Value: uint32(1)})
		tensors := []gguf.TensorInfo{{Name: name, Type: gguf.F16, Shape: []int64{256, 8}}}
		_, err = Plan(meta, tensors, Q4_0, Options{Overrides: []Override{{text: text, pattern: p}}})
		require.ErrorContains(t, err, "takes too long", "what cannot be decided is not left out silently")
	}
	for _, text := range []string{
		strings.Repeat("(", 500) + strings.Repeat(")", 500), strings.Repeat("(?!", 500), "a" + strings.Repeat("*", 500), strings.Repeat("a", maxPattern+1),
	} {
		_, err := compilePattern(text)
		require.Error(t, err)
	}
}

func FuzzPattern(f *testing.F) {
	for text := range patterns {
		f.Add(text, patternNames[4])
	}
	f.Add(`^(a|b|ab)*(?!y)[xyz]`, strings.Repeat("ab", 28)+".weight")
	f.Fuzz(func(t *testing.T, text, name string) {
		p, err := compilePattern(lowerASCII(text))
		if err != nil {
			return
		}
		if p.backtracking != nil {
			p.backtracking.MatchTimeout = 10 * time.Millisecond
		}
		if len(name) > 64 {
			name = name[:64]
		}
		if found, err := p.match(name); err == nil {
			again, _ := p.match(name)
			require.Equal(t, found, again)
		}
	})
}
