package eval

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat/jinja"
)

// template is what the harness takes for the name of a column, or else for a template of Jinja.
type template struct {
	source   string
	compiled *jinja.Template
}

func newTemplate(source string) (*template, error) {
	compiled, err := jinja.ParseStrict(source)
	return &template{source, compiled}, err
}

// row is a document as templates see it.
type row map[string]any

// newRow reads a JSON object. Objects in it keep their order.
func newRow(raw json.RawMessage) (row, error) {
	v, err := jinja.FromJSON(raw)
	if err != nil {
		return nil, err
	}
	dict, ok := v.(jinja.Dict)
	if !ok {
		return nil, fmt.Errorf("%w: a document that is no object", gguf.ErrCorrupt)
	}
	r := make(row, len(dict))
	for _, e := range dict {
		r[e.Key] = e.Value
	}
	return r, nil
}

// value returns the column, or what the template makes of the row: text.
func (t *template) value(r row) (any, error) {
	if v, ok := r[t.source]; ok {
		return v, nil
	}
	text, err := t.compiled.Render(context.Background(), r)
	if err != nil {
		return nil, fmt.Errorf("%.60q: %w", t.source, err)
	}
	return text, nil
}

// text is value where that can be nothing but text.
func (t *template) text(r row) (string, error) {
	v, err := t.value(r)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("%w: %.60q is no text", gguf.ErrUnsupported, t.source)
	}
	return s, nil
}

// digits returns the number that a text has the digits of, else the text.
func digits(v any) any {
	s, ok := v.(string)
	if !ok || s == "" || strings.Trim(s, "0123456789") != "" {
		return v
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	return v
}

// choicesIn returns the choices of a row.
func (t *yamlTask) choicesIn(r row) ([]string, error) {
	if t.choice == nil {
		return t.choices, nil
	}
	v, err := t.choice.value(r)
	if err != nil {
		return nil, err
	}
	if s, ok := v.(string); ok {
		if v, err = jinja.Literal(s); err != nil {
			return nil, fmt.Errorf("doc_to_choice makes %.60q: %w", s, err)
		}
	}
	list, ok := v.([]any)
	texts := make([]string, len(list))
	for i := range list {
		if texts[i], ok = list[i].(string); !ok {
			break
		}
	}
	if !ok {
		return nil, fmt.Errorf("%w: doc_to_choice makes no list of texts", gguf.ErrUnsupported)
	}
	return texts, nil
}

// targetIn returns the target of a row: text, a number, or a list of them.
func (t *yamlTask) targetIn(r row) (any, error) {
	v, err := t.target.value(r)
	s, ok := v.(string)
	if _, column := r[t.target.source]; err != nil || !ok || column {
		return v, err
	}
	if t.choice != nil || t.choices != nil {
		if n, ok := digits(s).(int64); ok {
			return n, nil
		}
	}
	if len(s) >= 2 && s[0] == '[' && s[len(s)-1] == ']' {
		if list, err := jinja.Literal(s); err == nil {
			return list, nil
		}
	}
	return s, nil
}

// outputs are the kinds of tasks, by output_type.
var outputs = map[string]func(t *yamlTask, r row) (*example, error){
	"multiple_choice":       (*yamlTask).multipleChoice,
	"generate_until":        (*yamlTask).toGenerate,
	"loglikelihood":         (*yamlTask).likelihoodOf,
	"loglikelihood_rolling": (*yamlTask).rollingOf,
}

func (t *yamlTask) multipleChoice(r row) (*example, error) {
	choices, err := t.choicesIn(r)
	if err != nil {
		return nil, err
	}
	target, err := t.targetIn(r)
	if err != nil {
		return nil, err
	}
	v, err := t.text.value(r)
	if err != nil {
		return nil, err
	}
	if _, column := r[t.text.source]; !column {
		v = digits(v)
	}
	switch v := v.(type) {
	case int64: // the number of the right context
		return t.severalContexts(choices, int(v), target)
	case string:
		e := &example{context: v, delimiter: t.targetDelimiter, choices: texts(choices...)}
		e.gold, e.answer, err = right(choices, target)
		return e, err
	}
	return nil, fmt.Errorf("%w: doc_to_text makes neither text nor the number of a context", gguf.ErrUnsupported)
}

// severalContexts has one text after different contexts.
func (t *yamlTask) severalContexts(contexts []string, right int, target any) (*example, error) {
	answer, ok := target.(string)
	if !ok || right < 0 || right >= len(contexts) {
		return nil, fmt.Errorf("%w: context %d of %d, and what follows it", gguf.ErrUnsupported, right, len(contexts))
	}
	e := &example{context: contexts[right], delimiter: t.targetDelimiter, answer: answer, gold: []int{right}}
	for _, context := range contexts {
		e.choices = append(e.choices, choice{context, answer})
	}
	return e, nil
}

// right returns which choices a target names, and the one that shots show.
func right(choices []string, target any) (gold []int, answer string, err error) {
	gold = []int{}
	add := func(n int64) {
		if n >= 0 && n < int64(len(choices)) {
			gold = append(gold, int(n))
		}
	}
	switch target := target.(type) {
	case int64:
		add(target)
	case string:
		add(int64(slices.Index(choices, target)))
		return gold, target, nil
	case []any:
		for _, v := range target {
			n, ok := v.(int64)
			if !ok {
				return nil, "", fmt.Errorf("%w: doc_to_target makes a list with other than numbers of choices", gguf.ErrUnsupported)
			}
			add(n)
		}
	default:
		return nil, "", fmt.Errorf("%w: doc_to_target makes neither a choice nor its number", gguf.ErrUnsupported)
	}
	if len(gold) > 0 {
		answer = choices[gold[0]]
	}
	return gold, answer, nil
}

// wanted returns the texts that may be generated.
func (t *yamlTask) wanted(r row) ([]string, error) {
	target, err := t.targetIn(r)
	if err != nil {
		return nil, err
	}
	if n, ok := target.(int64); ok && (t.choice != nil || t.choices != nil) {
		choices, err := t.choicesIn(r)
		if err != nil || n < 0 || n >= int64(len(choices)) {
			return nil, fmt.Errorf("%w: choice %d is right: %w", gguf.ErrCorrupt, n, err)
		}
		return choices[n : n+1], nil
	}
	list, ok := target.([]any)
	if !ok {
		list = []any{target}
	}
	var texts []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case int64:
			texts = append(texts, strconv.FormatInt(v, 10))
		default:
			return nil, fmt.Errorf("%w: doc_to_target makes no text", gguf.ErrUnsupported)
		}
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("%w: doc_to_target makes an empty list", gguf.ErrCorrupt)
	}
	return texts, nil
}

func (t *yamlTask) toGenerate(r row) (*example, error) {
	context, err := t.text.text(r)
	if err != nil {
		return nil, err
	}
	wanted, err := t.wanted(r)
	if err != nil {
		return nil, err
	}
	g := t.generation
	g.want, g.also = wanted[0], wanted[1:]
	return &example{context: context, delimiter: t.targetDelimiter, answer: wanted[0], generate: &g}, nil
}

func (t *yamlTask) likelihoodOf(r row) (*example, error) {
	context, err := t.text.text(r)
	if err != nil {
		return nil, err
	}
	target, err := t.target.text(r)
	return &example{context: context, delimiter: t.targetDelimiter, answer: target, choices: texts(target), gold: []int{0}}, err
}

func (t *yamlTask) rollingOf(r row) (*example, error) {
	whole, err := t.target.text(r)
	return new(example).rolls(whole, whole), err
}
