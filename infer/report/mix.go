package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/ggufkit/ggufkit/infer/choose"
)

// Mix is what a mix was chosen by, and what it was expected to lose.
type Mix struct {
	Name string `json:"name"`
	// FileType is what to quantize to, with the recipe.
	FileType  string  `json:"file_type"`
	Windows   int     `json:"windows"`
	Predicted float64 `json:"kld_predicted"`
	// How much closer to the original it is than the best of the types, on the other
	// windows.
	Better      float64  `json:"kld_better"`
	BetterError *float64 `json:"kld_better_error"`
	BetterLow   *float64 `json:"kld_better_low"`
	BetterHigh  *float64 `json:"kld_better_high"`
	Offered     bool     `json:"offered"`

	verdict string // if it is not
}

// NewMix reports on a mix that was chosen by so many windows.
func NewMix(m *choose.Mix, windows int) *Mix {
	r := &Mix{Name: m.Name, FileType: m.FileType.String(), Windows: windows, Predicted: m.Predicted, Offered: m.Offered, verdict: m.Reason}
	r.Better, r.BetterError, r.BetterLow, r.BetterHigh = parts(m.Better.Estimate(math.Inf(-1), math.Inf(1)))
	return r
}

// sentence says how the mix was found and what to do with it.
func (m *Mix) sentence() string {
	found := fmt.Sprintf("The mix was chosen by %d windows that nothing was measured on", m.Windows)
	if !m.Offered {
		return fmt.Sprintf("%s. It is not offered: %s.", found, strings.TrimPrefix(m.verdict, "not offered: "))
	}
	return fmt.Sprintf("%s. --recipe writes it for --tensor-type-file; the type to quantize to with it is %s.", found, m.FileType)
}
