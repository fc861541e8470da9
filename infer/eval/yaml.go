package eval

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/ggufkit/ggufkit/convert/yamldoc"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/display"
)

// yamlTask is a task as lm-evaluation-harness 0.4 has them in YAML (docs/task_guide.md there), without Python's functions. What it has of its
// settings is followed; any other is an error.
type yamlTask struct {
	Task
	output                            string
	test, validation, training, shown string // splits
	description, text, target         *template
	choice                            *template
	choices                           []string // instead of choice
	targetDelimiter, shotDelimiter    string
	samples                           []json.RawMessage // to show
	generation                        generation
	stopsAreTold                      bool
	figures                           []figure
	pipelines                         []pipeline
}

// figure is an entry of metric_list.
type figure struct {
	name    string
	matches matching
}

// setting is a key of a file and its value.
type setting struct {
	yamldoc.Field
	file string
}

func (s setting) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: line %d: %s: %w", s.file, s.Line, s.Name, fmt.Errorf(format, args...))
}

func (s setting) unknown() error {
	return s.errorf("%w: it is not one of the settings that are followed", gguf.ErrUnsupported)
}

// settings are what a task's file may say. Those without a function change nothing here.
var settings = map[string]func(t *yamlTask, s setting) error{
	"task":                         text(func(t *yamlTask, v string) { t.Name = v }),
	"dataset_path":                 text(func(t *yamlTask, v string) { t.Data.Hub = v }),
	"dataset_name":                 text(func(t *yamlTask, v string) { t.Data.Configuration = v }),
	"dataset_kwargs":               (*yamlTask).dataArguments,
	"test_split":                   text(func(t *yamlTask, v string) { t.test = v }),
	"validation_split":             text(func(t *yamlTask, v string) { t.validation = v }),
	"training_split":               text(func(t *yamlTask, v string) { t.training = v }),
	"fewshot_split":                text(func(t *yamlTask, v string) { t.shown = v }),
	"output_type":                  text(func(t *yamlTask, v string) { t.output = v }),
	"description":                  templated(func(t *yamlTask) **template { return &t.description }),
	"doc_to_text":                  templated(func(t *yamlTask) **template { return &t.text }),
	"doc_to_target":                templated(func(t *yamlTask) **template { return &t.target }),
	"doc_to_choice":                (*yamlTask).choicesOf,
	"target_delimiter":             text(func(t *yamlTask, v string) { t.targetDelimiter = v }),
	"fewshot_delimiter":            text(func(t *yamlTask, v string) { t.shotDelimiter = v }),
	"fewshot_config":               (*yamlTask).shotSettings,
	"num_fewshot":                  func(t *yamlTask, s setting) (err error) { t.Shots, err = s.number(0, 1000); return err },
	"repeats":                      func(_ *yamlTask, s setting) error { _, err := s.number(1, 1); return err },
	"metric_list":                  (*yamlTask).metrics,
	"generation_kwargs":            (*yamlTask).generated,
	"filter_list":                  (*yamlTask).filters,
	"metadata":                     (*yamlTask).version,
	"task_alias":                   nil,
	"tag":                          nil,
	"should_decontaminate":         nil,
	"doc_to_decontamination_query": nil,
}

// readYAMLTask reads the task of a file.
func readYAMLTask(path string) (*Task, error) {
	all, err := readSettings(path, nil)
	if err != nil {
		return nil, err
	}
	t := &yamlTask{
		Task:   Task{Name: display.Stem(path), Version: "Yaml"},
		output: "generate_until", targetDelimiter: " ", shotDelimiter: "\n\n",
	}
	for _, s := range all {
		follow, known := settings[s.Name]
		if !known {
			return nil, s.unknown()
		}
		if follow != nil && s.Value != nil {
			if err := follow(t, s); err != nil {
				return nil, err
			}
		}
	}
	if err := t.finish(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &t.Task, nil
}

// readSettings returns the settings of a file, those of the files that it includes among them.
func readSettings(path string, including []string) ([]setting, error) {
	const deep = 8
	if slices.Contains(including, path) || len(including) > deep {
		return nil, fmt.Errorf("%s: %w: it is included by itself, or %d files deep", path, gguf.ErrCorrupt, len(including))
	}
	data, err := new(Data).whole(path)
	if err != nil {
		return nil, err
	}
	v, err := yamldoc.LoadFields(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, explained(data, err))
	}
	fields, ok := v.([]yamldoc.Field)
	if !ok {
		return nil, fmt.Errorf("%s: %w: it is no mapping", path, gguf.ErrCorrupt)
	}
	var own, all []setting
	for _, f := range fields {
		s := setting{f, path}
		if f.Name != "include" {
			own = append(own, s)
			continue
		}
		for _, name := range listed(f.Value) {
			name, ok := name.(string)
			if !ok {
				return nil, s.errorf("%w: not the name of a file", gguf.ErrCorrupt)
			}
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(path), name)
			}
			included, err := readSettings(name, append(including, path))
			if err != nil {
				return nil, err
			}
			all = override(all, included)
		}
	}
	return override(all, own), nil
}

// override returns settings with others instead of those of the same name.
func override(all, by []setting) []setting {
	for _, s := range by {
		all = slices.DeleteFunc(all, func(old setting) bool { return old.Name == s.Name })
		all = append(all, s)
	}
	return all
}

// explained says where a document is wrong, and what a function is.
func explained(data []byte, err error) error {
	var where yaml.Error
	if errors.As(err, &where) && where.GetToken() != nil && strings.HasPrefix(where.GetToken().Value, "!function") {
		return fmt.Errorf("line %d: %w: !function names code in Python, which is not run", where.GetToken().Position.Line, gguf.ErrUnsupported)
	}
	return fmt.Errorf("%w: %s", gguf.ErrCorrupt, yamldoc.Explain(data, err))
}

// listed returns the elements of a list, or what is none.
func listed(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

func (s setting) number(least, most int) (int, error) {
	if plain, ok := s.Value.(yamldoc.Plain); ok {
		if n, err := strconv.Atoi(plain.Text); err == nil && n >= least && n <= most {
			return n, nil
		}
	}
	return 0, s.errorf("%w: it is not a number from %d to %d", gguf.ErrUnsupported, least, most)
}

// is reports whether a plain value is a number that is 0, or a truth value that is false, or the opposite.
func (s setting) is(truth bool) error {
	if plain, ok := s.Value.(yamldoc.Plain); !ok || plain.True != truth {
		return s.errorf("%w: it can only be %v", gguf.ErrUnsupported, truth)
	}
	return nil
}

func (s setting) text() (string, error) {
	if v, ok := s.Value.(string); ok {
		return v, nil
	}
	return "", s.errorf("%w: it is no text", gguf.ErrCorrupt)
}

func (s setting) texts() (list []string, err error) {
	for _, v := range listed(s.Value) {
		v, ok := v.(string)
		if !ok {
			return nil, s.errorf("%w: it is no text, nor a list of texts", gguf.ErrCorrupt)
		}
		list = append(list, v)
	}
	return list, nil
}

// fields returns the settings in a setting.
func (s setting) fields() ([]setting, error) {
	fields, ok := s.Value.([]yamldoc.Field)
	if !ok {
		return nil, s.errorf("%w: it is no mapping", gguf.ErrCorrupt)
	}
	all := make([]setting, len(fields))
	for i, f := range fields {
		all[i] = setting{f, s.file}
	}
	return all, nil
}

// each calls f with the settings of each mapping in a list.
func (s setting) each(f func(fields []setting) error) error {
	for _, v := range listed(s.Value) {
		fields, err := setting{yamldoc.Field{Name: s.Name, Line: s.Line, Value: v}, s.file}.fields()
		if err != nil {
			return err
		}
		if err := f(fields); err != nil {
			return err
		}
	}
	return nil
}

func text(set func(t *yamlTask, v string)) func(*yamlTask, setting) error {
	return func(t *yamlTask, s setting) error {
		v, err := s.text()
		if err == nil {
			set(t, v)
		}
		return err
	}
}

func templated(of func(t *yamlTask) **template) func(*yamlTask, setting) error {
	return func(t *yamlTask, s setting) (err error) {
		source := s.Value
		if plain, ok := source.(yamldoc.Plain); ok {
			source = plain.Text
		}
		v, ok := source.(string)
		if !ok {
			return s.errorf("%w: it is no template", gguf.ErrUnsupported)
		}
		if *of(t), err = newTemplate(v); err != nil {
			return s.errorf("%w", err)
		}
		return nil
	}
}

// choicesOf reads a template of choices, or themselves.
func (t *yamlTask) choicesOf(s setting) (err error) {
	switch v := s.Value.(type) {
	case string:
		return templated(func(t *yamlTask) **template { return &t.choice })(t, s)
	case []yamldoc.Field:
		var values []any
		for _, f := range v {
			values = append(values, f.Value)
		}
		s.Value = values
	}
	t.choices, err = s.texts()
	return err
}

// dataArguments reads data_files: names, below the folder of the task's file, of the files of each split.
func (t *yamlTask) dataArguments(s setting) error {
	fields, err := s.fields()
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch f.Name {
		case "data_files":
			splits := []setting{{yamldoc.Field{Name: "train", Line: f.Line, Value: f.Value}, f.file}}
			if _, ok := f.Value.([]yamldoc.Field); ok {
				if splits, err = f.fields(); err != nil {
					return err
				}
			}
			t.Data.files = make(map[string][]string)
			for _, split := range splits {
				names, err := split.texts()
				if err != nil {
					return err
				}
				for _, name := range names {
					if !filepath.IsAbs(name) {
						name = filepath.Join(filepath.Dir(s.file), name)
					}
					t.Data.files[split.Name] = append(t.Data.files[split.Name], name)
				}
			}
		case "trust_remote_code":
		default:
			return f.unknown()
		}
	}
	return nil
}

func (t *yamlTask) shotSettings(s setting) error {
	fields, err := s.fields()
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch f.Name {
		case "sampler":
			name, err := f.text()
			if err != nil || name != "default" && name != "first_n" {
				return f.errorf("%w: samplers are default and first_n", gguf.ErrUnsupported)
			}
			t.FirstShots = name == "first_n"
		case "split":
			if t.shown, err = f.text(); err != nil {
				return err
			}
		case "samples":
			err := f.each(func(row []setting) error {
				values := make(map[string]string)
				for _, value := range row {
					if values[value.Name], err = value.text(); err != nil {
						return err
					}
				}
				raw, err := json.Marshal(values)
				t.samples = append(t.samples, raw)
				return err
			})
			if err != nil {
				return err
			}
		default:
			return f.unknown()
		}
	}
	return nil
}

func (t *yamlTask) generated(s setting) error {
	fields, err := s.fields()
	if err != nil {
		return err
	}
	for _, f := range fields {
		switch f.Name {
		case "until":
			if f.Value == nil {
				continue
			}
			t.stopsAreTold = true
			t.generation.stops, err = f.texts()
		case "max_gen_toks":
			t.generation.most, err = f.number(1, 1<<20)
		case "do_sample", "temperature":
			err = f.is(false)
		default:
			err = f.unknown()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version reads that; other metadata is for people.
func (t *yamlTask) version(s setting) error {
	fields, err := s.fields()
	if err != nil {
		return err
	}
	for _, f := range fields {
		if f.Name != "version" {
			continue
		}
		switch v := f.Value.(type) {
		case yamldoc.Plain:
			t.Version = v.Text
		case string:
			t.Version = v
		}
	}
	return nil
}

// finish makes the task of what the settings are together.
func (t *yamlTask) finish() error {
	switch {
	case t.text == nil || t.target == nil:
		return fmt.Errorf("%w: doc_to_text and doc_to_target are needed", gguf.ErrCorrupt)
	case t.Data.Hub == "":
		return fmt.Errorf("%w: dataset_path is needed", gguf.ErrCorrupt)
	case t.test == "" && t.validation == "":
		return fmt.Errorf("%w: test_split or validation_split is needed", gguf.ErrCorrupt)
	case t.Data.files == nil && (t.Data.Hub == "json" || t.Data.Hub == "parquet"):
		return fmt.Errorf("%w: dataset_kwargs has no data_files", gguf.ErrCorrupt)
	}
	t.Split = cmp.Or(t.test, t.validation)
	t.ShotSplit = cmp.Or(t.shown, t.training, t.validation, t.test)
	t.SpareShot = t.shown == t.test
	t.shotRows = t.samples
	if t.samples != nil && t.shown == "" {
		t.ShotSplit = "samples"
	}
	t.between = t.shotDelimiter
	if t.Data.Folder = folderOf(t.Data); !filepath.IsLocal(t.Data.Folder) {
		return fmt.Errorf("%w: a data set called %s", gguf.ErrUnsupported, t.Data.Folder)
	}
	if !t.stopsAreTold {
		t.generation.stops = []string{t.shotDelimiter}
	}
	render, ok := outputs[t.output]
	if !ok {
		return fmt.Errorf("%w: output_type %s", gguf.ErrUnsupported, t.output)
	}
	if t.output == "multiple_choice" && t.choice == nil && t.choices == nil {
		return fmt.Errorf("%w: doc_to_choice is needed", gguf.ErrCorrupt)
	}
	t.joined = t.output == "loglikelihood"
	t.render = func(raw json.RawMessage) (*example, error) {
		row, err := newRow(raw)
		if err != nil {
			return nil, err
		}
		e, err := render(t, row)
		if err == nil && t.description != nil {
			e.description, err = t.description.text(row)
		}
		return e, err
	}
	return t.measures()
}

// folderOf returns where the files of a data set of the hub are: where those of the tasks that are known are, else its name and
// configuration.
func folderOf(set DataSet) string {
	for _, p := range Profiles {
		for _, t := range p.Tasks() {
			if t.Data.Hub == set.Hub && t.Data.Configuration == set.Configuration && t.Data.File == "" {
				return t.Data.Folder
			}
		}
	}
	return path.Join(path.Base(set.Hub), set.Configuration)
}
