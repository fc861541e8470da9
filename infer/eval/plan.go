package eval

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/internal/pyrandom"
)

// Selection is a task with its number of shots.
type Selection struct {
	Task  *Task
	Shots int
}

// Select finds the tasks of a list: names of tasks and groups, each with :N for so many shots, in the order that they are named, and
// files: of documents, which end in .jsonl, tasks of the harness's in YAML, or those of llama.cpp.
// shots, if not negative, is for all that say no number.
func (p *Profile) Select(names []string, shots int) ([]Selection, error) {
	all := p.Tasks()
	var chosen []Selection
	for _, name := range names {
		if filepath.Ext(name) != "" {
			s, err := p.fileTask(name, shots)
			if err != nil {
				return nil, err
			}
			t := s.Task
			if slices.ContainsFunc(chosen, func(c Selection) bool { return c.Task.Name == t.Name }) {
				return nil, fmt.Errorf("there are two tasks called %s", t.Name)
			}
			chosen = append(chosen, s)
			continue
		}
		name, number, told := strings.Cut(name, ":")
		own := shots
		if told {
			n, err := shotsIn(name, number)
			if err != nil {
				return nil, err
			}
			own = n
		}
		found := false
		for _, t := range all {
			if t.Name != name && !p.inGroup(t, name) {
				continue
			}
			found = true
			s := Selection{t, own}
			if own < 0 {
				s.Shots = t.Shots
			}
			if s.Shots > 0 && t.ShotSplit == "" {
				return nil, fmt.Errorf("%s has no documents for shots", t.Name)
			}
			if i := slices.IndexFunc(chosen, func(c Selection) bool { return c.Task == t }); i >= 0 {
				chosen[i] = s
				continue
			}
			chosen = append(chosen, s)
		}
		if !found {
			return nil, p.unknown(name)
		}
	}
	return chosen, nil
}

// inGroup reports whether a task is in a group, or in one of those that nous is made of: today's harness has not all of them.
func (p *Profile) inGroup(t *Task, name string) bool {
	nous := func(group string) bool { return slices.Contains(nousSuites, group) }
	return slices.Contains(t.Groups, name) || name == "nous" && p.old && slices.ContainsFunc(t.Groups, nous)
}

// fileTask returns the task that a file is. That of a YAML file can have shots.
func (p *Profile) fileTask(name string, shots int) (Selection, error) {
	path, number, told := strings.Cut(name, ".yaml:")
	if told {
		n, err := shotsIn(name, number)
		if err != nil {
			return Selection{}, err
		}
		name, shots = path+".yaml", n
	}
	switch filepath.Ext(name) {
	case ".jsonl":
		t, err := userTask(name)
		return Selection{Task: t}, err
	case ".yaml", ".yml":
		if p.old {
			return Selection{}, fmt.Errorf("%s: %w: a task of lm-eval-0.4 in profile %s", name, gguf.ErrUnsupported, p.Name)
		}
		t, err := readYAMLTask(name)
		if err == nil && shots < 0 {
			shots = t.Shots
		}
		return Selection{t, shots}, err
	}
	t, err := llamaTask(name)
	return Selection{Task: t}, err
}

func shotsIn(name, number string) (int, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: %q is not a number of shots", name, number)
	}
	return n, nil
}

func (p *Profile) unknown(name string) error {
	if !p.old && strings.HasPrefix(name, "bigbench") {
		return fmt.Errorf("profile %s has no %s: its BIG-bench is another data set (hails/bigbench); profile nous has that of the suite", p.Name, name)
	}
	for _, other := range Profiles {
		for _, t := range other.Tasks() {
			if t.Name == name || other.inGroup(t, name) {
				return fmt.Errorf("profile %s has no task %s, profile %s has", p.Name, name, other.Name)
			}
		}
	}
	return fmt.Errorf("there is no task or group %q", name)
}

// Prompts says how documents are chosen and written.
type Prompts struct {
	// Limit is how many documents of each task are evaluated: a number, or below 1 a part; 0 is all.
	Limit float64
	// Samples has the numbers of the documents of tasks that are evaluated, instead of Limit.
	Samples map[string][]int
	// Seed draws the shots; nil is the profile's.
	Seed *uint64
	// Template, if not nil, makes conversations of prompts, as --apply-chat-template does.
	Template *chat.Template
	// Multiturn has a turn for each shot.
	Multiturn bool
	System    string // instruction, before all
}

// document is one of a task, with what is asked.
type document struct {
	task     *Task
	number   int // of the row
	example  *example
	requests []request
}

// request is one thing to ask: the likelihood of a continuation or of a text, or a continuation.
type request struct {
	kind         kind
	context      string
	continuation string
}

type kind int

const (
	pair kind = iota
	generated
	rolled
)

// documents writes the prompts of a task.
func (p *Profile) documents(ctx context.Context, s Selection, data *Data, prompts Prompts) ([]*document, error) {
	rows, render, err := s.Task.rows(data)
	if err != nil {
		return nil, err
	}
	if s.Task.encode != nil && (prompts.Template != nil || prompts.System != "") {
		return nil, fmt.Errorf("%w: %s is asked as llama.cpp does, without a chat template or an instruction", gguf.ErrUnsupported, s.Task.path)
	}
	seed := p.Seed
	if prompts.Seed != nil {
		seed = *prompts.Seed
	}
	random := pyrandom.New(seed)
	order := numbered(len(rows))
	switch {
	case s.Task.order != nil:
		order = s.Task.order(len(rows))
	case p.old:
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	order, err = prompts.chosen(s.Task.Name, order)
	if err != nil {
		return nil, err
	}
	shots, err := s.pool(data)
	if err != nil {
		return nil, err
	}
	docs := make([]*document, len(order))
	for i, number := range order {
		e, err := examine(render, rows[number])
		if err != nil {
			return nil, fmt.Errorf("%s, document %d: %w", s.Task.Name, number, err)
		}
		doc := &document{task: s.Task, number: number, example: e}
		chosen, err := shots.draw(random, string(rows[number]))
		if err != nil {
			return nil, err
		}
		if err := doc.ask(ctx, chosen, prompts); err != nil {
			return nil, fmt.Errorf("%s, document %d: %w", s.Task.Name, number, err)
		}
		docs[i] = doc
	}
	return docs, nil
}

// rows returns the documents of a task, and what renders one.
func (t *Task) rows(data *Data) ([]json.RawMessage, func(json.RawMessage) (*example, error), error) {
	switch {
	case t.open == nil && t.path != "":
		rows, err := data.lines(t.path)
		return rows, t.render, err
	case t.open == nil:
		rows, err := data.rows(t.Data, t.Split)
		return rows, t.render, err
	}
	name, whole, err := t.path, []byte(nil), error(nil)
	if name != "" {
		whole, err = data.whole(name)
	} else {
		name = t.Data.File
		whole, err = data.file(t.Data)
	}
	if err != nil {
		return nil, nil, err
	}
	rows, render, err := t.open(whole)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return rows, render, nil
}

// chosen returns the documents that are evaluated, out of all in their order.
func (p Prompts) chosen(task string, order []int) ([]int, error) {
	if p.Samples != nil {
		for _, n := range p.Samples[task] {
			if n < 0 || n >= len(order) {
				return nil, fmt.Errorf("%s has no document %d, only %d", task, n, len(order))
			}
		}
		return slices.DeleteFunc(order, func(n int) bool { return !slices.Contains(p.Samples[task], n) }), nil
	}
	limit := len(order)
	switch {
	case p.Limit >= 1:
		limit = int(min(p.Limit, float64(limit)))
	case p.Limit > 0:
		limit = int(math.Ceil(float64(limit) * p.Limit))
	}
	return order[:limit], nil
}

// pool is where the shots of a task come from.
type pool struct {
	Selection
	rows []json.RawMessage
}

func (s Selection) pool(data *Data) (*pool, error) {
	if s.Shots == 0 {
		return &pool{Selection: s}, nil
	}
	rows := s.Task.shotRows
	if rows == nil {
		var err error
		if rows, err = data.rows(s.Task.Data, s.Task.ShotSplit); err != nil {
			return nil, err
		}
	}
	need := s.Shots
	if s.Task.SpareShot {
		need++
	}
	if len(rows) < need {
		return nil, fmt.Errorf("%s: %d shots are drawn from %d documents of split %s", s.Task.Name, need, len(rows), s.Task.ShotSplit)
	}
	return &pool{s, rows}, nil
}

// draw returns the shots of the next document.
func (p *pool) draw(random *pyrandom.Random, document string) ([]*example, error) {
	var numbers []int
	switch {
	case p.Shots == 0:
	case p.Task.FirstShots:
		for i := 0; len(numbers) < p.Shots; i++ {
			if !p.Task.SpareShot || string(p.rows[i]) != document {
				numbers = append(numbers, i)
			}
		}
	case p.Task.SpareShot:
		numbers = random.Sample(len(p.rows), p.Shots+1)
		numbers = slices.DeleteFunc(numbers, func(n int) bool { return string(p.rows[n]) == document })[:p.Shots]
	default:
		numbers = random.Sample(len(p.rows), p.Shots)
	}
	shots := make([]*example, len(numbers))
	for i, n := range numbers {
		e, err := examine(p.Task.render, p.rows[n])
		if err != nil {
			return nil, fmt.Errorf("%s, shot %d: %w", p.Task.Name, n, err)
		}
		shots[i] = e
	}
	return shots, nil
}

// ask writes the requests of a document.
func (d *document) ask(ctx context.Context, shots []*example, prompts Prompts) error {
	e := d.example
	if e.rolling != "" {
		d.requests = []request{{rolled, e.rolling, ""}}
		return nil
	}
	delimiter := e.delimiter
	if prompts.Template != nil || d.task.joined {
		delimiter = "" // the answer begins a turn, or is what follows
	}
	written := make(map[string]string) // contexts
	write := func(context string) (text string, err error) {
		text, ok := written[context]
		if !ok {
			text, err = prompts.write(ctx, d.task.Description+e.description, cmp.Or(d.task.between, "\n\n"), shots, context)
			written[context] = text
		}
		return text, err
	}
	for _, c := range e.choices {
		context := c.context
		if context == "" {
			context = e.context
		}
		text, err := write(context)
		if err != nil {
			return err
		}
		d.requests = append(d.requests, request{pair, text, delimiter + c.text})
	}
	if e.generate != nil {
		text, err := write(e.context)
		if err != nil {
			return err
		}
		d.requests = append(d.requests, request{kind: generated, context: text})
	}
	return nil
}

// write returns a prompt: description, shots and what is asked, as one text or as a conversation.
func (p Prompts) write(ctx context.Context, description, between string, shots []*example, question string) (string, error) {
	text := ""
	for _, s := range shots {
		text += s.context + s.delimiter + s.answer + between
	}
	text += question
	switch {
	case p.Template == nil && p.System != "":
		return p.System + between + description + text, nil
	case p.Template == nil:
		return description + text, nil
	}
	var messages []chat.Message
	say := func(role, content string) { messages = append(messages, chat.Message{Role: role, Content: content}) }
	switch {
	case p.System != "" && description != "":
		say("system", p.System+between+description)
	case p.System+description != "":
		say("system", p.System+description)
	}
	if p.Multiturn {
		for _, s := range shots {
			say("user", s.context)
			say("assistant", s.answer)
		}
		say("user", question)
	} else {
		say("user", text)
	}
	return p.Template.Render(ctx, messages)
}
