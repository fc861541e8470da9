//go:build !nomodels

package testdata

import (
	"embed"
	"io/fs"
)

// beyonder leaves out the shard that all five models have.
//
//go:embed beyonder-mini/moe.yaml beyonder-mini/base
//go:embed beyonder-mini/*/*.json beyonder-mini/*/tokenizer.model beyonder-mini/*/model-00002-of-00002.safetensors
var beyonder embed.FS

var models fs.FS = beyonder
