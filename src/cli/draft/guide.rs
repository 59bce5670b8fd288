//! A guide in Markdown, taken apart: headings, and below each of them prose and commands in their order.
//!
//! Commands are code blocks, and whatever destroys between backticks in a sentence: a clean-up that is only mentioned is
//! still carried out by whoever follows the guide.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::lines::{self, Kind};

/// A whole guide.
#[derive(Debug, Default)]
pub(super) struct Guide {
    /// The heading of the first level, or the first heading.
    pub title: Option<String>,
    /// What stands before the first section.
    pub about: String,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// What stands below a heading.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The heading.
    pub title: String,
    /// Prose and commands.
    pub parts: Vec<Part>,
}

/// Commands, with the prose in front of them.
#[derive(Debug)]
pub(super) struct Part {
    /// What the guide says about them.
    pub prose: String,
    /// What is to be run; nothing for a person's work.
    pub work: Option<(Kind, String)>,
    /// What it destroys.
    pub destroys: Vec<String>,
}

/// Reads a guide. `destroys` tells what a command or a statement destroys.
pub(super) fn read(text: &str, destroys: &dyn Fn(&str, Kind) -> Vec<String>) -> Guide {
    let mut reader = Reader::new(text, destroys);
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut block: Option<(String, String)> = None;
    let mut heading: Option<(HeadingLevel, String)> = None;
    let mut metadata = false;
    let all: Vec<_> = Parser::new_ext(text, options).into_offset_iter().collect();
    let blocks = all.iter().filter_map(|(event, range)| match event {
        Event::Start(Tag::CodeBlock(_)) => Some(&text[range.clone()]),
        _ => None,
    });
    let blocks: Vec<&str> = blocks.collect();
    for (event, range) in &all {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => metadata = true,
            Event::End(TagEnd::MetadataBlock(_)) => {
                metadata = false;
                reader.last = range.end;
            }
            _ if metadata => {}
            Event::Start(Tag::Heading { level, .. }) => {
                reader.prose(range.start);
                heading = Some((*level, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                reader.last = range.end;
                if let Some((level, title)) = heading.take() {
                    reader.heading(level, title.trim().to_owned());
                }
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                block = Some((language, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => {
                if let Some((language, code)) = block.take() {
                    reader.block(range.clone(), &language, &code);
                }
            }
            Event::Text(more) | Event::Code(more) if heading.is_some() => {
                if let Some((_, title)) = &mut heading {
                    title.push_str(more);
                }
            }
            Event::Text(more) => {
                if let Some((_, code)) = &mut block {
                    code.push_str(more);
                }
            }
            Event::Code(code) => {
                let kind = if destroys(code, Kind::Shell).is_empty() { Kind::Sql } else { Kind::Shell };
                // What a block says anyway is not said twice; one word is a name and no command.
                let said = blocks.iter().any(|block| block.contains(&**code));
                if code.contains(' ') && !said && !destroys(code, kind).is_empty() {
                    reader.inline.push((kind, format!("{code}\n")));
                }
            }
            _ => {}
        }
    }
    reader.prose(text.len());
    reader.done()
}

struct Reader<'a> {
    text: &'a str,
    destroys: &'a dyn Fn(&str, Kind) -> Vec<String>,
    guide: Guide,
    section: Option<Section>,
    /// Up to here the text is read.
    last: usize,
    /// Prose that waits for its commands.
    waiting: String,
    inline: Vec<(Kind, String)>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, destroys: &'a dyn Fn(&str, Kind) -> Vec<String>) -> Self {
        Reader {
            text,
            destroys,
            guide: Guide::default(),
            section: None,
            last: 0,
            waiting: String::new(),
            inline: Vec::new(),
        }
    }

    /// Takes the prose up to here, and makes steps of the commands in it that destroy.
    fn prose(&mut self, end: usize) {
        let prose = tidy(self.text.get(self.last..end).unwrap_or_default());
        self.last = self.last.max(end);
        if !prose.is_empty() {
            if !self.waiting.is_empty() {
                self.waiting.push_str("\n\n");
            }
            self.waiting.push_str(&prose);
        }
        for (kind, command) in std::mem::take(&mut self.inline) {
            self.part(kind, command);
        }
    }

    fn part(&mut self, kind: Kind, text: String) {
        let prose = std::mem::take(&mut self.waiting);
        let pieces = lines::apart(&text, kind, self.destroys);
        let section = self.section.get_or_insert_with(Section::default);
        for (nth, (text, destroys)) in pieces.into_iter().enumerate() {
            let prose = if nth == 0 { prose.clone() } else { String::new() };
            section.parts.push(Part { prose, work: Some((kind, text)), destroys });
        }
    }

    fn block(&mut self, range: std::ops::Range<usize>, language: &str, code: &str) {
        let Some(found) = lines::commands(language, code) else {
            // No commands: it stays a part of the prose.
            self.prose(range.end);
            return;
        };
        self.prose(range.start);
        self.last = self.last.max(range.end);
        if !found.output.trim().is_empty() {
            let shown = found.output.trim_end();
            self.waiting.push_str(&format!("\n\nIn the guide it printed:\n\n```text\n{shown}\n```"));
            self.waiting = self.waiting.trim_start().to_owned();
        }
        self.part(found.kind, found.text);
    }

    fn heading(&mut self, level: HeadingLevel, title: String) {
        if self.guide.title.is_none() && self.section.is_none() {
            self.guide.title = Some(title.clone());
            if level == HeadingLevel::H1 {
                return;
            }
        }
        self.close();
        self.section = Some(Section { title, parts: Vec::new() });
    }

    /// Ends a section: prose that is left is what a person does there, or a remark on what was done.
    fn close(&mut self) {
        let prose = std::mem::take(&mut self.waiting);
        match self.section.take() {
            None => self.guide.about.push_str(&prose),
            Some(mut section) => {
                match section.parts.last_mut() {
                    // After the commands: what to look at, so it belongs to them.
                    Some(last) if !prose.is_empty() => {
                        let before = if last.prose.is_empty() { "" } else { "\n\n" };
                        last.prose.push_str(&format!("{before}**Afterwards:** {prose}"));
                    }
                    None if !prose.is_empty() => {
                        section.parts.push(Part { prose, work: None, destroys: Vec::new() });
                    }
                    _ => {}
                }
                if !section.parts.is_empty() {
                    self.guide.sections.push(section);
                }
            }
        }
    }

    fn done(mut self) -> Guide {
        self.close();
        self.guide
    }
}

/// Prose without the blank around it, and without the indentation that all its lines share.
fn tidy(prose: &str) -> String {
    let prose = prose.trim_matches('\n').trim_end();
    let depth = prose
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start_matches(' ').len())
        .min()
        .unwrap_or(0);
    let lines: Vec<&str> =
        prose.lines().map(|line| line.get(depth..).unwrap_or_default().trim_end()).collect();
    lines.join("\n").trim().to_owned()
}
