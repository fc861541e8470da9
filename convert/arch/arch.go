package arch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Architecture describes the checkpoints of one class.
type Architecture struct {
	// Class is the name in config.json's list of architectures.
	Class string
	// Others are the names of classes with the same tensors, or some more that are for
	// images or sound. Those that end with Model have no output of their own.
	Others []string
	// Name is general.architecture and the prefix of the keys.
	Name string
	// Variants are other names, of models of the class whose layers are those of others.
	Variants []string
	// Repacked says that experts that are packed in MXFP4 are written as blocks of that type,
	// which hold the same values, and not as floats.
	Repacked bool
	// Family names the models for people, and Special says what is special about them, or
	// about how they are converted; it may be empty.
	Family, Special string
	// Embeddings says that such models also make embeddings of texts: how they pool
	// those of tokens is in files of sentence-transformers.
	Embeddings bool
	// Vocabulary is what the class adds to the keys of a vocabulary.
	Vocabulary vocab.Rules

	// types are what transformers knows of config.json, by its model_type.
	types []modelType
	// read reads config.json.
	read func(*reader) family

	// experts is what config.json calls their number, empty for classes without. Of
	// several classes of the same Name the first that has, or has not, experts as the model
	// has is restored.
	experts string
	// restore says what config.json has of the metadata of a model, and what it must say
	// beside, as far as not all models have it: the reverse of keys. It may be nil.
	restore func(*restorer)
}

// Architectures lists what can be converted.
var Architectures = []*Architecture{
	&Llama, &Mistral, &Mixtral, &Mistral3, &SmolLM3, &Arcee, &InternLM3, &MiniCPM, &Granite, &GraniteMoE, &GraniteHybrid,
	&Qwen2, &Qwen2MoE, &Qwen2VL, &Qwen3, &Qwen3MoE, &Qwen3VL, &Qwen3VLMoE, &Qwen3Next, &Qwen35, &Qwen35MoE,
	&Mamba, &Mamba2, &Jamba, &FalconH1, &NemotronH, &LFM2, &LFM2MoE,
	&DeepSeek, &DeepSeek2, &DeepSeek32, &GLM4MoELite, &GLMDSA, &GPTOSS,
	&ChatGLM, &GLM4, &GLM4V, &GLM4MoE, &Llama4, &AFMoE, &BailingMoE2,
	&Gemma, &Gemma2, &Gemma3, &EmbeddingGemma, &Gemma3n, &Gemma4,
	&BERT, &RoBERTa, &CamemBERT, &XLMRoBERTa, &DistilBERT, &NomicBERT, &ModernBERT,
	&OLMo, &OLMo2, &OLMoE,
	&Phi2, &Phi3, &PhiMoE,
	&GPT2, &GPTNeoX, &BLOOM, &MPT, &Falcon,
	&Cohere, &Cohere2, &Exaone4, &Ernie, &ErnieMoE, &SeedOSS, &Apertus, &StarCoder, &StarCoder2, &Jais2, &StableLM, &Nemotron, &HunyuanDense, &HunyuanMoE, &Dots1, &MiniMaxM2,
}

// Find returns the architecture of a class. The error wraps gguf.ErrUnsupported if there is
// none, and names the nearest.
func Find(class string) (*Architecture, error) { return find(class, nil) }

// find is Find for a class of a model_type, which may tell the nearest.
func find(class string, ofType any) (*Architecture, error) {
	near, most := "", 2 // letters in common say nothing if they are not more
	for _, a := range Architectures {
		for _, known := range append([]string{a.Class}, a.Others...) {
			if known == class {
				return a, nil
			}
			if n := commonStart(strings.ToLower(known), strings.ToLower(class)); n > most {
				near, most = known, n
			}
		}
	}
	for _, a := range Architectures {
		if slices.ContainsFunc(a.types, func(t modelType) bool { return t.name == ofType }) {
			near = a.Class
		}
	}
	if near != "" {
		near = fmt.Sprintf(", the nearest that is known is %s", near)
	}
	return nil, fmt.Errorf("%w: architecture %.100q%s (`ggufkit models` shows all)", gguf.ErrUnsupported, class, near)
}

// commonStart returns how many bytes two texts begin with alike.
func commonStart(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// family is what an architecture makes of a config.json: a struct of its own that
// embeds Config.
type family interface {
	config() *Config
	// keys adds the metadata in convert_hf_to_gguf.py's order.
	keys(*keys)
	// tensors says what the tensors are made of.
	tensors(mapper)
}

// Model is a config.json and what it says of a checkpoint's metadata and tensors.
type Model struct {
	*Architecture
	*Config
	// Name is that of Architecture, or one of its Variants.
	Name   string
	family family
}

// Read reads config.json. The error wraps gguf.ErrCorrupt if a value is impossible and
// gguf.ErrUnsupported if the model is of a kind that cannot be converted.
func Read(data []byte) (*Model, error) {
	h, err := readHParams(data)
	if err != nil {
		return nil, err
	}
	class, err := h.class()
	if err != nil {
		return nil, err
	}
	a, err := find(class, h["model_type"])
	if err != nil {
		return nil, err
	}
	m, err := a.model(h)
	if err != nil {
		return nil, err
	}
	m.headless = strings.HasSuffix(class, "Model")
	return m, nil
}

// Read is the function Read where the architecture is known.
func (a *Architecture) Read(data []byte) (*Model, error) {
	h, err := readHParams(data)
	if err != nil {
		return nil, err
	}
	return a.model(h)
}

func (a *Architecture) model(h hparams) (*Model, error) {
	r := &reader{hparams: h, class: a.Class}
	f := a.read(r)
	if r.err != nil {
		return nil, r.err
	}
	m := &Model{a, f.config(), a.Name, f}
	if f, ok := f.(interface{ variant() string }); ok {
		m.Name = cmp.Or(f.variant(), a.Name)
	}
	return m, nil
}

// Metadata returns the model's own pairs in convert_hf_to_gguf.py's order. The type of
// the file is llama.cpp's number for that of the tensors; pooling are the pairs that say how
// a model for embeddings pools those of tokens.
func (m *Model) Metadata(fileType uint32, pooling ...gguf.KV) []gguf.KV {
	k := &keys{prefix: m.Name + ".", fileType: fileType, pooling: pooling}
	m.family.keys(k)
	k.pool()
	return k.pairs
}

// EarlyMetadata returns the pairs that convert_hf_to_gguf.py writes with the tensors, right
// after general.architecture. Some are values of tensors, those of the set that was planned
// last; the error is that of reading them.
func (m *Model) EarlyMetadata() ([]gguf.KV, error) {
	k := &keys{prefix: m.Name + "."}
	if f, ok := m.family.(interface{ earlyKeys(*keys) error }); ok {
		if err := f.earlyKeys(k); err != nil {
			return nil, err
		}
	}
	return k.pairs, nil
}

// VocabularyRules returns what the class and the model add to the keys of a vocabulary.
func (m *Model) VocabularyRules() vocab.Rules {
	rules := m.Vocabulary
	if f, ok := m.family.(interface{ rules(*vocab.Rules) }); ok {
		f.rules(&rules)
	}
	if f, ok := m.family.(interface{ tokens() []vocab.RoleID }); ok {
		rules.IDs = slices.Concat(rules.IDs, f.tokens())
	}
	return rules
}

// keys collects metadata.
type keys struct {
	prefix   string // of the names of keys
	fileType uint32
	pooling  []gguf.KV // that are not set yet
	pairs    []gguf.KV
}

// pool sets how embeddings are pooled, which is last where a family does not call it.
func (k *keys) pool() { k.pairs, k.pooling = append(k.pairs, k.pooling...), nil }

// set sets a key. One that is set again keeps its place, as in gguf-py's dictionaries.
func (k *keys) set(name string, value any) {
	for i := range k.pairs {
		if k.pairs[i].Key == k.prefix+name {
			k.pairs[i].Value = value
			return
		}
	}
	k.pairs = append(k.pairs, gguf.KV{Key: k.prefix + name, Value: value})
}

// count sets a whole number, as GGUF stores it, unless it is nil.
func (k *keys) count(name string, n *int64) {
	if n != nil {
		k.set(name, uint32(*n))
	}
}

// number is count for other numbers.
func (k *keys) number(name string, v *float64) {
	if v != nil {
		k.set(name, float32(*v))
	}
}

// setFileType sets the one key that depends on the tensors' types and not on the model.
func (k *keys) setFileType() {
	k.pairs = append(k.pairs, gguf.KV{Key: "general.file_type", Value: k.fileType})
}
