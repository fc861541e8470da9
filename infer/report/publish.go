package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/ggufkit/ggufkit/infer/display"
)

// Publish says what was made for publishing, or would be.
type Publish struct {
	Dir   string        `json:"dir"`
	Files []PublishFile `json:"files"`
	// Left says which types were left out, and why.
	Left    []string `json:"left_out,omitempty"`
	Imatrix string   `json:"imatrix,omitempty"`
	Drift   string   `json:"drift,omitempty"`
	Commit  string   `json:"commit,omitempty"` // where what was uploaded can be seen
	// ReadBytes is what the model's files have, which are read once for all types; RoomBytes what the missing files take on the disk. Both with
	// --dry-run alone.
	ReadBytes *int64 `json:"read_bytes,omitempty"`
	RoomBytes *int64 `json:"room_bytes,omitempty"`
	// PlanTime is how long a dry run says that writing them takes.
	*PlanTime
	// Again is what the model is read for beside, in words.
	Again []string `json:"-"`
}

// PublishFile is a file of a model, or a split set.
type PublishFile struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Bytes int64    `json:"bytes"`
	BPW   float64  `json:"bpw"`
	Parts []string `json:"parts,omitempty"` // if there are several
	// SHA256 are those of the parts, if they are there.
	SHA256 []string `json:"sha256,omitempty"`
	Whole  bool     `json:"whole"`
}

// Print writes a table of the files, and of a dry run what it would take.
func (p *Publish) Print(w io.Writer) {
	dry := p.ReadBytes != nil
	t := display.NewTable(w, []string{"file", "size", "bits per weight", ""}, "size", "bits per weight")
	for _, f := range p.Files {
		name := f.Name
		if n := len(f.Parts); n > 0 {
			name += fmt.Sprintf(" and %d more", n-1)
		}
		state := ""
		if dry && f.Whole {
			state = "is there"
		}
		t.AppendRow(table.Row{name, display.Bytes(f.Bytes), fmt.Sprintf("%.2f", f.BPW), state})
	}
	t.Render()
	if dry {
		again := ""
		if len(p.Again) > 0 {
			again = ", and again " + strings.Join(p.Again, " and ")
		}
		fmt.Fprintf(w, "\n%s are read, once for all files%s. What is missing takes %s on the disk.\n", display.Bytes(*p.ReadBytes), again, display.Bytes(*p.RoomBytes))
		if p.PlanTime != nil {
			fmt.Fprintf(w, "Writing the files takes %s.\n", p.words())
		}
	}
}
