// Package quant converts between float32 and the block formats of ggml's
// tensor types, and shows a model quantized as llama-quantize would ([View]).
//
// [Quantize], [Dequantize] and [Validate] work on whole blocks of a
// [gguf.Type]; the file named after a type holds its codec and says how a block
// is laid out. The types are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K,
// Q3_K, Q4_K, Q5_K and Q6_K, without importance matrix. For others there is an
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
//	if err := quant.Quantize(gguf.Q4_K, block, row); err != nil {
//		return err
//	}
//
// Which tensor of a model gets which type is the business of package
// quant/recipe.
package quant
