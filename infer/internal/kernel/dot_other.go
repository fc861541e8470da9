//go:build (!amd64 && !arm64) || purego

package kernel

func dotLanes(lanes *[dotStep]float32, a, b []float32) { dotLanesGeneric(lanes, a, b) }
func addScaled(dst, x []float32, factor float32)       { addScaledGeneric(dst, x, factor) }
