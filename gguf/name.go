package gguf

import (
	"strconv"
	"strings"
)

// SplitName splits the name of a tensor of a layer: blk.3.attn_q.weight is layer 3 and
// attn_q.weight. Of any other name it returns -1 and the name as it is.
func SplitName(name string) (layer int, part string) {
	rest, ok := strings.CutPrefix(name, "blk.")
	if !ok {
		return -1, name
	}
	digits, part, ok := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil {
		return -1, name
	}
	return int(n), part
}
