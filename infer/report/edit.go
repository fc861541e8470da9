package report

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/edit"
	"github.com/ggufkit/ggufkit/infer/display"
)

// Edit says what an edit of a file's metadata does.
type Edit struct {
	File string `json:"file"`
	Out  string `json:"out"`
	// InPlace says that only BytesWritten of the file change, and its tensors stay where they are.
	InPlace bool      `json:"in_place"`
	Bytes   int64     `json:"bytes_written"`
	Changes []Changed `json:"changes"`
}

// Changed is a pair that changes: Was is nil for one that is added, Is for one that is removed.
type Changed struct {
	Key  string `json:"key"`
	From string `json:"renamed_from,omitempty"`
	Was  *Typed `json:"was"`
	Is   *Typed `json:"is"`
}

// Typed is a value with the name of its type.
type Typed struct {
	Type  string `json:"type"`
	Value any    `json:"value"`
}

func typed(v any) *Typed {
	if v == nil {
		return nil
	}
	return &Typed{gguf.TypeName(v), jsonValue(v)}
}

func (t *Typed) text() string {
	if t == nil {
		return ""
	}
	return t.Type + " " + valueText(t.Value)
}

// NewEdit says what changes, in a file and in the one that is written.
func NewEdit(file, out string, changed []edit.Changed) *Edit {
	r := &Edit{File: file, Out: out, Changes: []Changed{}}
	for _, c := range changed {
		r.Changes = append(r.Changes, Changed{c.Key, c.From, typed(c.Was), typed(c.Is)})
	}
	return r
}

// Print lists the changes on a terminal.
func (r *Edit) Print(w io.Writer) {
	t := display.NewTable(w, []string{"key", "was", "is"})
	for _, c := range r.Changes {
		was := c.Was.text()
		if c.From != "" {
			was = "called " + c.From
		}
		t.AppendRow(table.Row{c.Key, was, c.Is.text()})
	}
	t.Render()
}

// Summary says what is written, or would be.
func (r *Edit) Summary() string {
	switch {
	case len(r.Changes) == 0 && r.File == r.Out:
		return "nothing changes"
	case r.InPlace:
		return fmt.Sprintf("%s: bytes changed in place: %d", r.Out, r.Bytes)
	}
	return fmt.Sprintf("%s: the whole file, %s", r.Out, display.Bytes(r.Bytes))
}
