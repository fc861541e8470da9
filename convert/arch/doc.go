// Package arch knows how checkpoints of each architecture become the tensors
// and metadata that llama.cpp expects.
//
// An [Architecture] is one file, named after it. It has a struct for what it takes
// from config.json, with [Config] embedded for what all models have, and says of
// that struct which metadata it gives and what every GGUF tensor is made of, as an
// expression of package weights. [Read] finds the architecture by the class in
// config.json and makes a [Model] of it; [Model.Metadata] and [Model.Plan] are the
// results. No tensor data is read.
//
// Adding an architecture is one file and a line in [Architectures]:
//
//	func (q *qwen3) tensors(m mapper) {
//		q.outside(m)
//		for _, layer := range m.layers(q.Layers) {
//			q.norms(layer)
//			q.attention(layer, halves)
//			layer.take("self_attn.q_norm.weight", "attn_q_norm.weight", q.HeadLength())
//			layer.take("self_attn.k_norm.weight", "attn_k_norm.weight", q.HeadLength())
//			q.mlp(layer)
//		}
//	}
//
// [Restore] goes the other way: the same function of tensors, asked of a checkpoint that is
// not there and undone, makes a checkpoint of a GGUF model, and the architecture's restore
// names the parameters of config.json that its keys hold.
//
// Names, keys and their order are those of convert_hf_to_gguf.py (llama.cpp's
// conversion/ and gguf-py's tensor_mapping.py); defaults for keys that
// config.json lacks are those of transformers' configuration classes, which
// that script goes through.
package arch
