package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

func tokenizeCommand() *cli.Command {
	return &cli.Command{
		Name:      "tokenize",
		Usage:     "token ids and pieces of a text",
		ArgsUsage: "MODEL",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` to tokenize"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` with the text to tokenize, or standard input: -"},
			&cli.BoolFlag{Name: "no-bos", Usage: "do not add the tokens the model wants at the start and end"},
			&cli.BoolFlag{Name: "parse-special", Usage: "recognize special tokens such as </s> in the text"},
		},
		Action: tokenize,
	}
}

type tokenizeReport struct {
	IDs    []int32  `json:"ids"`
	Pieces []string `json:"pieces"`
}

func tokenize(c *cli.Context) error {
	args, err := arguments(c, "MODEL")
	if err != nil {
		return err
	}
	if c.IsSet("prompt") == c.IsSet("file") {
		return usagef(c, "one of --prompt and --file is needed")
	}
	text := textFile{data: c.String("prompt")}
	if c.IsSet("file") {
		if text, err = readText(c.String("file"), maxText); err != nil {
			return err
		}
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
		AddSpecial:   !c.Bool("no-bos"),
		ParseSpecial: c.Bool("parse-special"),
	})}
	for _, id := range report.IDs {
		report.Pieces = append(report.Pieces, vocab.Piece(id))
	}
	if c.Bool("json") {
		return printJSON(c, report)
	}
	for i, id := range report.IDs {
		fmt.Fprintf(c.App.Writer, "%6d  %q\n", id, report.Pieces[i])
	}
	return nil
}
