// Package infer runs language models: token ids in, logits out.
//
// [New] reads the hyper-parameters of any [gguf.Source] of architecture llama
// (the Llama, Mistral and Mixtral families), qwen2, qwen3, qwen2moe, qwen3moe or
// deepseek (the first DeepSeek-MoE) and checks that every tensor of the graph is
// there with the right shape; what it cannot do it refuses by name.
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
// # The graph
//
//   - RMS norm; in qwen3 and qwen3moe also of each head of queries and keys;
//   - rotary embedding, with linear scaling and per-frequency factors (Llama 3):
//     of neighbouring pairs in llama and deepseek (ggml's "norm" layout, for which
//     llama.cpp's converter permutes the rows of q and k), of the halves of a head
//     in the others ("neox");
//   - causal grouped-query attention within a chunk;
//   - SwiGLU feed-forward, or a mixture: softmax over all experts, the best
//     expert_used_count of them (of equals the one with the lower index), their
//     weights divided by their sum in llama and qwen3moe and as they are in
//     qwen2moe and deepseek;
//   - a shared expert beside those in qwen2moe, with a gate of its own, and
//     deepseek, whose first blocks are dense;
//   - logits from output.weight, or from token_embd.weight where that is absent.
//
// The matrices of attention and of the dense network may have biases.
// A sliding attention window is ignored, as llama.cpp ignores it for this
// architecture (its converter writes no key for it).
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
// The router of a mixture, attention between queries, keys and values, norms
// and the residual stream are always float32. For the trained mixture in
// testdata, the Kullback-Leibler divergence of what Int8 predicts from what Exact
// does is 0.0002 to 0.0005 nats a token, and below 0.002 for ternary types.
//
// # Memory
//
// Forward takes Options.Memory or less, unless a single chunk needs more: it
// counts the activations of a batch of chunks, slabs of packed weights, the
// logits of 64 positions, and for each thread 32 dequantized rows and the keys,
// values and scores of one head. The weights are read layer by layer, the next
// one ahead while this one computes, and once for each batch, so models far larger
// than memory run at the speed of the disk.
//
// # Determinism
//
// Results do not depend on the number of threads, on the other chunks or on
// Options.Memory. They depend, within rounding, on the instruction set: see
// package quant/isa.
package infer
