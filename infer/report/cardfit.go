package report

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/display"
)

// cardMemories are the sizes of memory that people have, in bytes.
var cardMemories = []int64{8e9, 12e9, 16e9, 24e9, 48e9}

// best returns the file to take where there are so many bytes of memory, of which some are taken by what is beside the weights: the closest to
// the original if that was measured of all that fit, else the largest. It returns nil if none fits.
func (c *ModelCard) best(memory, beside int64) *CardFile {
	var fit []*CardFile
	measured := true
	for _, f := range c.Files {
		if f.FileBytes+beside <= memory {
			fit = append(fit, f)
			measured = measured && c.drifted(f) != nil
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return slices.MinFunc(fit, func(a, b *CardFile) int {
		if !measured {
			return cmp.Compare(b.FileBytes, a.FileBytes)
		}
		return cmp.Compare(c.drifted(a).KLD, c.drifted(b).KLD)
	})
}

// fits says which file to take for how much memory.
func (c *ModelCard) fits(b *strings.Builder) {
	if c.Fit == nil || !c.isGGUF() {
		return
	}
	contexts := c.Fit.contexts
	b.WriteString("\n## Which file for how much memory\n\n|At least|")
	for _, context := range contexts {
		fmt.Fprintf(b, "%d tokens of context|", context.setting.Context)
	}
	b.WriteString("\n|---:|" + strings.Repeat("---|", len(contexts)) + "\n")
	before := ""
	for _, memory := range cardMemories {
		row := ""
		for _, context := range contexts {
			beside := context.memory.Bytes()
			if f := c.best(memory, beside); f != nil {
				row += fmt.Sprintf("[%s](./%s), takes %s|", markdownText(f.What()), url.PathEscape(f.Parts[0].Name), display.Bytes(f.FileBytes+beside))
			} else {
				row += "none fits|"
			}
		}
		if row != before {
			fmt.Fprintf(b, "|%d GB|%s\n", memory/1e9, row)
		}
		before = row
	}
	which := "The largest that fits"
	if c.Drift != nil && !slices.ContainsFunc(c.Files, func(f *CardFile) bool { return c.drifted(f) == nil }) {
		which = "That which fits and has the least divergence"
	}
	fmt.Fprintf(b, "\n%s, of CPU and GPU together. What a file takes is itself, keys and values of all tokens in F16, and an upper estimate of llama.cpp's buffers.\n", which)
}
