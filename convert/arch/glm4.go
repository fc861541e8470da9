package arch

import "github.com/ggufkit/ggufkit/convert/vocab"

// glmVocabulary is TextModel._set_vocab_glm: what begins a text, ends a turn, stands for the
// unknown and ends a message.
var glmVocabulary = vocab.Rules{Roles: []vocab.RoleText{
	{Role: "bos", Text: "[gMASK]"}, {Role: "eot", Text: "<|user|>"}, {Role: "unk", Text: "<|endoftext|>"}, {Role: "eom", Text: "<|observation|>"},
}}
