package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
)

// Plan is what a run would do and take.
type Plan struct {
	Model string `json:"model"`
	// Units is how many the run has: windows, and those that are run once more for the floor of drift. PartUnits has those of the part, or all.
	Units      int      `json:"units"`
	Part       string   `json:"part,omitempty"` // I/N
	PartUnits  int      `json:"part_units"`
	Ctx        int      `json:"ctx"`
	Candidates []string `json:"candidates,omitempty"` // their names
	Compute    string   `json:"compute"`
	PlanCost
}

// PlanCost is what the part, or the run, takes.
type PlanCost struct {
	// Batches is how often all layers are gone through.
	Batches int `json:"batches"`
	// MemoryBytes is what the engine takes as it counts, for which MemoryLimit is what it may.
	MemoryBytes int64 `json:"memory_bytes"`
	MemoryLimit int64 `json:"memory_limit"`
	// ReadBytes is what is read of the model's files, once to hash them, and then by all models; LeastBytes what of that has to come from the
	// disk, if it keeps a layer in memory until all models have passed it.
	ReadBytes  int64 `json:"read_bytes"`
	LeastBytes int64 `json:"least_bytes"`
	PlanTime
}

// PlanTime is how long it takes.
type PlanTime struct {
	// CoreHours is the time of one core, and Seconds that of Threads.
	CoreHours float64 `json:"core_hours"`
	Threads   int     `json:"threads"`
	Seconds   float64 `json:"seconds"`
	// Rates is the file with the figures that the time is estimated with, "" if they were measured.
	Rates string `json:"rates,omitempty"`
}

// NewPlanCost tells what some work takes whose memory has a limit.
func NewPlanCost(w infer.Work, limit int64, takes PlanTime) PlanCost {
	return PlanCost{
		Batches: w.Batches, MemoryBytes: w.Memory, MemoryLimit: limit, ReadBytes: w.Read + w.Hashed, LeastBytes: w.Least + w.Hashed, PlanTime: takes,
	}
}

// Print shows it on a terminal.
func (p *Plan) Print(w io.Writer) {
	what := fmt.Sprintf("%d units", p.Units)
	if p.Part != "" {
		what = fmt.Sprintf("%d of %d units (part %s)", p.PartUnits, p.Units, p.Part)
	}
	of := ""
	if len(p.Candidates) > 0 {
		of = " of the model and " + strings.Join(p.Candidates, ", ")
	}
	display.Line(w, fmt.Sprintf("work:    %s of %d tokens each%s, %s compute; batches: %d", what, p.Ctx, of, p.Compute, p.Batches))
	p.PlanCost.Print(w)
}

// Print shows it on a terminal.
func (p PlanCost) Print(w io.Writer) {
	memory := fmt.Sprintf("%s, of the %s that it may take (--memory)", display.Bytes(p.MemoryBytes), display.Bytes(p.MemoryLimit))
	if p.MemoryBytes > p.MemoryLimit {
		memory = fmt.Sprintf("%s, more than the %s that it may take (--memory), since a single window needs it", display.Bytes(p.MemoryBytes), display.Bytes(p.MemoryLimit))
	}
	display.Line(w, "memory:  "+memory)
	display.Line(w, fmt.Sprintf("reading: %s of the model's files, of which %s have to come from the disk", display.Bytes(p.ReadBytes), display.Bytes(p.LeastBytes)))
	display.Line(w, "time:    "+p.words())
}

// words says it.
func (p PlanTime) words() string {
	rates := "as fast as this machine is now"
	if p.Rates != "" {
		rates = "as fast as " + display.Printable(p.Rates) + " says"
	}
	return fmt.Sprintf("%.2g core hours, %s: about %s on %d cores", p.CoreHours, rates, display.Seconds(time.Duration(p.Seconds*float64(time.Second))), p.Threads)
}
