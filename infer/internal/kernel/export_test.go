package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// Variant is a tier without what the CPU can do beyond it.
type Variant struct {
	Name     string
	Tier     isa.Tier
	features []*bool
}

// SwitchOff makes the kernels do without the features until the returned function
// is called.
func (v Variant) SwitchOff() (restore func()) {
	before := make([]bool, len(v.features))
	for i, has := range v.features {
		before[i], *has = *has, false
	}
	return func() {
		for i, has := range v.features {
			*has = before[i]
		}
	}
}
