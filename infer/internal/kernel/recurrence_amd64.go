//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// mambaPanel is Mamba of a panel of channels, if there is an instruction set for it.
func mambaPanel(a MambaArgs, x Rows, first int, h, decays []float32) bool {
	if a.Tokens == 0 || a.States == 0 || isa.Current() == isa.Generic {
		return a.Tokens == 0
	}
	last := a.Tokens - 1
	_, _ = x.at(last, first+panel), a.Step.at(last, first+panel)
	_, _ = a.B.at(last, a.States), a.C.at(last, a.States)
	kernel, width := mambaAVX2, 8
	if isa.Current() == isa.AVX512 {
		kernel, width = mambaAVX512, 16
	}
	for i := 0; i < panel; i += width {
		kernel(&h[i], &decays[i], &x.Data[first+i], &a.D[first:][:panel][i], &a.Step.Data[first+i], &a.B.Data[0], &a.C.Data[0],
			x.Stride, a.Step.Stride, a.B.Stride, a.C.Stride, a.States, a.Tokens)
	}
	return true
}

// mamba2Panel takes as many states of a panel of a head as vectors can through Mamba2, and returns how many those are.
func mamba2Panel(a Mamba2Args, y Rows, first int, h []float32) int {
	if a.Tokens == 0 || isa.Current() == isa.Generic {
		return 0
	}
	last := a.Tokens - 1
	_, _ = y.at(last, first+panel), a.X.at(last, first+panel)
	_, _ = a.B.at(last, a.States), a.C.at(last, a.States)
	_, _ = a.Step.at(last, 1), a.Decay.at(last, 1)
	kernel, rows := mamba2AVX2, 4
	if isa.Current() == isa.AVX512 {
		kernel, rows = mamba2AVX512, 8
	}
	done := a.States / rows * rows
	for n := 0; n < done; n += rows {
		kernel(&h[n*panel], &y.Data[first], &a.X.Data[first], &a.B.Data[n], &a.C.Data[n], &a.Step.Data[0], &a.Decay.Data[0],
			y.Stride, a.X.Stride, a.B.Stride, a.C.Stride, a.Step.Stride, a.Decay.Stride, a.Tokens)
	}
	return done
}

// deltaResult is deltaResultGeneric by the best means.
func deltaResult(u, out, s, key, query, value []float32, g deltaGates) {
	_, _, _, _ = s[len(key)*len(value)-1], query[len(key)-1], u[len(value)-1], out[len(value)-1]
	switch {
	case len(value) != deltaPanel || len(key)%2 != 0 || isa.Current() == isa.Generic:
		deltaResultGeneric(u, out, s, key, query, value, g)
	case isa.Current() == isa.AVX512:
		deltaResultAVX512(&s[0], &key[0], &query[0], &value[0], &u[0], &out[0], len(key), g.beta, g.decay, g.match)
	default:
		for i := 0; i < deltaPanel; i += 16 {
			deltaResultAVX2(&s[i], &key[0], &query[0], &value[i], &u[i], &out[i], len(key), g.beta, g.decay, g.match)
		}
	}
}

// deltaUpdate is deltaUpdateGeneric by the best means.
func deltaUpdate(s, key, u []float32, decay float32) {
	_ = s[len(key)*len(u)-1]
	switch {
	case len(u) != deltaPanel || isa.Current() == isa.Generic:
		deltaUpdateGeneric(s, key, u, decay)
	case isa.Current() == isa.AVX512:
		deltaUpdateAVX512(&s[0], &key[0], &u[0], len(key), decay)
	default:
		for i := 0; i < deltaPanel; i += 16 {
			deltaUpdateAVX2(&s[i], &key[0], &u[i], len(key), decay)
		}
	}
}

// softplus is softplusGeneric by the best means.
func softplus(x []float32) {
	whole := len(x) / lanes * lanes
	switch {
	case whole == 0 || isa.Current() == isa.Generic:
		whole = 0
	case isa.Current() == isa.AVX512:
		softplusAVX512(&x[0], whole)
	default:
		softplusAVX2(&x[0], whole)
	}
	softplusGeneric(x[whole:])
}

// mulAdd is mulAddGeneric by the best means.
func mulAdd(dst, x, w []float32) {
	whole := len(dst) / lanes * lanes
	switch {
	case whole == 0 || isa.Current() == isa.Generic:
		whole = 0
	case isa.Current() == isa.AVX512:
		mulAddAVX512(&dst[0], &x[0], &w[0], whole)
	default:
		mulAddAVX2(&dst[0], &x[0], &w[0], whole)
	}
	mulAddGeneric(dst[whole:], x[whole:], w[whole:])
}
