package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

type tokenizeFlags struct {
	prompt, file *string // nil if not given
	noBOS        bool
	parseSpecial bool
}

func tokenizeCommand() *cli.Command {
	var f tokenizeFlags
	return &cli.Command{
		Name:      "tokenize",
		Usage:     "token ids and pieces of a text",
		ArgsUsage: "MODEL",
		Flags: []cli.Flag{
			optionalFlag("prompt", "`TEXT` to tokenize", &f.prompt, "p"),
			optionalFlag("file", "`FILE` with the text to tokenize, or standard input: -", &f.file, "f"),
			&cli.BoolFlag{Name: "no-bos", Usage: "do not add the tokens the model wants at the start and end", Destination: &f.noBOS},
			&cli.BoolFlag{Name: "parse-special", Usage: "recognize special tokens such as </s> in the text", Destination: &f.parseSpecial},
		},
		Action: action(func(c *call) error { return tokenize(c, f) }),
	}
}

type tokenizeReport struct {
	IDs    []int32  `json:"ids"`
	Pieces []string `json:"pieces"`
}

func tokenize(c *call, f tokenizeFlags) error {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	if (f.prompt == nil) == (f.file == nil) {
		return c.usagef("one of --prompt and --file is needed")
	}
	var text textFile
	if f.prompt != nil {
		text.data = *f.prompt
	} else if text, err = readText(*f.file, maxText); err != nil {
		return err
	}
	model, err := openModel(c, args[0], gguf.KindVocabulary)
	if err != nil {
		return err
	}
	defer model.Close()
	vocab, err := vocabularyOf(model)
	if err != nil {
		return err
	}
	report := tokenizeReport{IDs: vocab.Encode(text.data, tokenizer.Options{
		AddSpecial:   !f.noBOS,
		ParseSpecial: f.parseSpecial,
	})}
	for _, id := range report.IDs {
		report.Pieces = append(report.Pieces, vocab.Piece(id))
	}
	if c.json {
		return printJSON(c, report)
	}
	for i, id := range report.IDs {
		fmt.Fprintf(c.stdout, "%6d  %q\n", id, report.Pieces[i])
	}
	return nil
}
