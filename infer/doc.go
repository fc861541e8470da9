// Package infer runs language models: token ids in, logits out.
//
// [New] reads what any [gguf.Source] of a family in package infer/arch computes, and
// checks that every tensor of the graph is there with the right shape; what it cannot do
// it refuses by name.
// [Model.Forward] scores text. It works layer by layer: all chunks pass a layer
// before the next one is read, so that every weight is read once per run (or
// once per batch of chunks that fit in [Options].Memory) and every expert of a
// mixture multiplies the tokens of all chunks at once.
//
//	m, err := infer.New(src, infer.Options{})
//	if err != nil {
//		return err
//	}
//	err = m.Forward(ctx, infer.Chunks(texts, 0), func(chunk, pos int, logits []float32) {
//		// logits predict the token after position pos of the chunk
//	})
//
// [Strands] take texts through layers of several forms of a model side by side, which differ in some tensors, and let them wait between
// layers.
//
// # The graph
//
// A model is data: package infer/graph has what it is made of, norms, attention,
// feed-forward networks and mixtures of experts, each written once. Two
// engines compute its steps: Forward's, for many tokens of many chunks, and that of
// [Sessions], for the next token of each of some texts. Logits come from output.weight, or from
// token_embd.weight where that is absent.
//
// # Compute
//
// With [Exact], weights are dequantized to float32 and multiplied with float32
// activations, so that what a quantized model loses is the weights' loss alone.
//
// [Int8] is several times as fast. How a product is computed depends on the type of
// its weight:
//
//   - quantized types: the weights are dequantized, and quantized again to 8 bits
//     with a scale for every 64 elements of a row, and so are the activations.
//     Products of a block are summed exactly, in 32-bit integers. One kernel thus
//     does for all types; the second quantization loses less than that of the activations,
//     which llama.cpp quantizes too (in blocks of 256, or 32).
//   - BF16: the weights are taken as they are and the activations rounded to
//     bfloat16, where the CPU multiplies such numbers (AVX512_BF16). Elsewhere, in
//     float32.
//   - F16, F32, other CPUs: in float32.
//
// Add of Sessions computes otherwise, since it reads each weight for one token of each, which
// would not repay bringing it to another form. The activations are rounded to 8 bits
// with a scale for every 256 elements, and multiplied with the integers of the blocks
// as they are stored, as llama.cpp does. Where there is no kernel for a type's
// rows (none is needed for F32, F16 and BF16; of the quantized types it depends on the CPU: see
// kernel.CanDotRows), or rows are not whole 256 elements, products are in float32. So
// what is generated with Int8 is not predicted to the last bit by what Forward says of the same
// model, though the two are about as near to Exact.
//
// The router of a mixture, attention between queries, keys and values, norms
// and the residual stream are always float32. For the trained mixture in
// testdata, the Kullback-Leibler divergence of what Int8 predicts from what Exact
// does is 0.0002 to 0.0005 nats a token, and below 0.002 for ternary types.
//
// # Memory
//
// Forward takes Options.Memory or less, unless a single chunk needs more
// ([Model.LeastMemory]): it counts the residual streams of a batch of chunks, the activations of
// a block of their tokens, packed weights, the
// logits of some positions, and for each thread 32 dequantized rows and the keys,
// values and scores of one head. A long chunk goes through a layer block by block, and what attention and recurrences
// remember of it is held meanwhile. The weights are read layer by layer, the next
// one ahead while this one computes, and once for each batch, so models far larger
// than memory run at the speed of the disk.
//
// # Determinism
//
// Results do not depend on the number of threads, on the other chunks or sessions, or on
// Options.Memory (of models with LongRoPE, on whether any chunk is a long text: see [Model.LongContext]). They depend, within rounding, on the instruction set: see
// package quant/isa.
package infer
