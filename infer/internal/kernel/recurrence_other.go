//go:build !amd64 || purego

package kernel

func mambaPanel(MambaArgs, Rows, int, []float32, []float32) bool { return false }

func mamba2Panel(Mamba2Args, Rows, int, []float32) int { return 0 }

func deltaResult(u, out, s, key, query, value []float32, g deltaGates) {
	deltaResultGeneric(u, out, s, key, query, value, g)
}

func deltaUpdate(s, key, u []float32, decay float32) { deltaUpdateGeneric(s, key, u, decay) }

func softplus(x []float32) { softplusGeneric(x) }

func mulAdd(dst, x, w []float32) { mulAddGeneric(dst, x, w) }
