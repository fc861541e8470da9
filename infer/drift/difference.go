package drift

import "fmt"

// Difference returns the mean divergence of a less that of b, and the standard
// error of that difference given that both scored the same tokens: much of what
// makes a token hard is common to both, and cancels. Both have to be results on
// the same texts, but not of the same Measure.
func Difference(a, b Result) (kld, deviation float64, err error) {
	if len(a.KLD) != len(b.KLD) {
		return 0, 0, fmt.Errorf("drift: %s has %d scored tokens, %s has %d: there is no paired difference", a.Name, len(a.KLD), b.Name, len(b.KLD))
	}
	differences := make([]float64, len(a.KLD))
	for i := range differences {
		differences[i] = a.KLD[i] - b.KLD[i]
	}
	kld, deviation = meanError(differences)
	return kld, deviation, nil
}
