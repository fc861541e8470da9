package main

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// newProvenance begins to hash a model and an importance matrix, or nil. The caller must wait for it
// or stop it before it closes them.
func newProvenance(c *call, model *model, importance *imatrix.Matrix) *report.Hashing {
	return report.NewProvenance(c.ctx, programVersion(), c.commandLine(), model.Model, model.path, importance)
}

// commandKey is where the app has the command line.
const commandKey = "command line"

// commandLine returns the command line, as a shell takes it.
func (c *call) commandLine() string {
	var words []string
	for i, arg := range c.line {
		if i == 0 {
			arg = filepath.Base(arg)
		}
		words = append(words, shellWord(remote.Plain(arg)))
	}
	return strings.Join(words, " ")
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./-]+$`)

// shellWord quotes what a shell would take apart.
func shellWord(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
