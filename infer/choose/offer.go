package choose

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
)

// Offer considers a candidate that was made to be better than the one chosen, such as a mix of
// types, and was measured on the same windows. It is chosen only if it is closer to the
// original by more than chance: if the 95 % interval of the paired difference is above 0.
// Otherwise its reason says that it is not offered.
func (c *Choice) Offer(candidate Candidate, result *drift.Result) error {
	best := c.Considered[c.Chosen]
	difference, err := drift.Difference(*best.Result, *result)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(c.Considered, func(other Considered) bool { return other.Bytes <= candidate.Bytes })
	if at < 0 {
		at = len(c.Considered)
	}
	offered := Considered{Candidate: candidate, Needs: candidate.Bytes + c.Memory.Bytes(), Result: result}
	if !difference.Positive(interval.Level) {
		low, high := difference.Interval(interval.Level)
		offered.Reason = fmt.Sprintf("not offered: KL %.5f, the paired difference to %s is %.5f (95 %% interval %.5f to %.5f)", result.Overall.KLD.Value,
			best.Name, difference.Value, low, high)
	}
	c.Considered = slices.Insert(c.Considered, at, offered)
	if offered.Reason == "" {
		c.RunnerUp = -1
		return c.decide()
	}
	for _, index := range []*int{&c.Chosen, &c.RunnerUp} {
		if *index >= at {
			*index++
		}
	}
	return nil
}
