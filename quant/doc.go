// Package quant converts between float32 and the block formats of ggml's
// tensor types, and shows a model quantized as llama-quantize would ([View]).
//
// [Quantize], which may take importances of the columns of a matrix, [Dequantize] and
// [Validate] work on whole rows of a [gguf.Type]; the
// file named after a type holds its codec and says how a block is laid out. There
// are codecs for all types of floating-point numbers that GGUF files have, but for
// F64, and for Q8_1 and Q8_K, which ggml uses in memory only. For those there is an
// error that wraps [gguf.ErrUnsupported].
//
// The bytes are those of ggml's x86-64 baseline build, which has no fused
// multiply-add, on every CPU. Searches for scales choose between nearly equal
// sums, so a sum that is rounded differently gives another file. Go may fuse
// x*y + z (it does on arm64 and with GOAMD64=v3) unless the product is converted
// explicitly: every product here that is added to something is written
// float32(x*y) + z, and sums keep ggml's order.
//
//	row := []float32{ /* 256 values */ }
//	block := make([]byte, gguf.Q4_K.RowBytes(int64(len(row))))
//	if err := quant.Quantize(gguf.Q4_K, block, row, len(row), nil); err != nil {
//		return err
//	}
//
// Which tensor of a model gets which type is the business of package
// quant/recipe.
package quant
