//! Reads source files and leaves what others can use: no bodies, no documentation, nothing private.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use syn::{Attribute, File, ImplItem, Item, ItemImpl, ItemMod, Meta, TraitItem, Type, Visibility};

/// All of a crate, a section for each module.
pub(crate) fn of_crate(root: &Path) -> String {
    let mut modules = Vec::new();
    read(root, "crate", &mut modules);
    let names = modules.iter().flat_map(|(_, file)| public_types(file)).collect();
    let mut text = String::new();
    for (path, file) in modules {
        let listed = listing(file, &names);
        if !listed.is_empty() {
            text.extend(["// ", &path, "\n", &listed, "\n"]);
        }
    }
    text
}

/// One file that stands alone.
pub(crate) fn of_text(text: &str) -> String {
    let file = syn::parse_file(text).unwrap();
    let names = public_types(&file);
    listing(file, &names)
}

/// A file and those of its modules, in the order in which they are declared.
fn read(path: &Path, name: &str, modules: &mut Vec<(String, File)>) {
    let file = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
    let stem = path.file_stem().unwrap();
    let folder = if stem == "lib" { path.parent().unwrap().to_owned() } else { path.with_extension("") };
    let is_child = |item: &&ItemMod| item.content.is_none() && !is_for_tests(&item.attrs);
    let declared = file.items.iter().filter_map(|item| match item {
        Item::Mod(item) => Some(item),
        _ => None,
    });
    let children: Vec<_> = declared.filter(is_child).map(|item| item.ident.to_string()).collect();
    modules.push((name.to_owned(), file));
    for child in children {
        read(&folder.join(format!("{child}.rs")), &format!("{name}::{child}"), modules);
    }
}

fn public_types(file: &File) -> BTreeSet<String> {
    let name = |item: &Item| match item {
        Item::Struct(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Enum(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Trait(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        Item::Type(item) if is_public(&item.vis) => Some(item.ident.to_string()),
        _ => None,
    };
    file.items.iter().filter_map(name).collect()
}

fn listing(file: File, names: &BTreeSet<String>) -> String {
    let items = file.items.into_iter().filter_map(|item| bared(item, names)).collect();
    prettyplease::unparse(&File { shebang: None, attrs: Vec::new(), items })
}

/// What of an item is public.
fn bared(mut item: Item, names: &BTreeSet<String>) -> Option<Item> {
    let (attributes, visibility) = match &mut item {
        Item::Const(item) => (&mut item.attrs, &item.vis),
        Item::Enum(item) => {
            item.variants.iter_mut().for_each(|variant| {
                keep_telling(&mut variant.attrs);
                variant.fields.iter_mut().for_each(|field| keep_telling(&mut field.attrs));
            });
            (&mut item.attrs, &item.vis)
        }
        Item::Fn(item) => {
            item.block.stmts.clear();
            (&mut item.attrs, &item.vis)
        }
        Item::Impl(item) => return bared_impl(item, names).then(|| Item::Impl(item.clone())),
        Item::Mod(item) => (&mut item.attrs, &item.vis),
        Item::Struct(item) => {
            bare_fields(&mut item.fields);
            (&mut item.attrs, &item.vis)
        }
        Item::Trait(item) => {
            item.items.iter_mut().for_each(bare_in_trait);
            (&mut item.attrs, &item.vis)
        }
        Item::Type(item) => (&mut item.attrs, &item.vis),
        Item::Use(item) => (&mut item.attrs, &item.vis),
        _ => return None,
    };
    if !is_public(visibility) || is_for_tests(attributes) {
        return None;
    }
    keep_telling(attributes);
    Some(item)
}

/// Whether anything of an impl is to be seen.
fn bared_impl(item: &mut ItemImpl, names: &BTreeSet<String>) -> bool {
    let Type::Path(of) = &*item.self_ty else { return false };
    let is_named = of.path.segments.last().is_some_and(|last| names.contains(&last.ident.to_string()));
    item.attrs.clear();
    if item.trait_.is_some() {
        // The items of a trait are listed with the trait.
        item.items.clear();
        return is_named;
    }
    item.items.retain(|item| match item {
        ImplItem::Fn(item) => is_public(&item.vis),
        ImplItem::Const(item) => is_public(&item.vis),
        _ => false,
    });
    for item in &mut item.items {
        match item {
            ImplItem::Fn(item) => {
                item.block.stmts.clear();
                keep_telling(&mut item.attrs);
            }
            ImplItem::Const(item) => keep_telling(&mut item.attrs),
            _ => {}
        }
    }
    is_named && !item.items.is_empty()
}

fn bare_in_trait(item: &mut TraitItem) {
    match item {
        TraitItem::Fn(item) => {
            // That there is a body is part of it: such an item need not be written.
            if let Some(body) = &mut item.default {
                body.stmts.clear();
            }
            keep_telling(&mut item.attrs);
        }
        TraitItem::Const(item) => keep_telling(&mut item.attrs),
        TraitItem::Type(item) => keep_telling(&mut item.attrs),
        _ => {}
    }
}

/// Private fields go; of those without names it shows that they are there.
fn bare_fields(fields: &mut syn::Fields) {
    match fields {
        syn::Fields::Named(named) => {
            let public = std::mem::take(&mut named.named).into_iter().filter(|field| is_public(&field.vis));
            named.named = public.collect();
        }
        syn::Fields::Unnamed(unnamed) => {
            for field in unnamed.unnamed.iter_mut().filter(|field| !is_public(&field.vis)) {
                field.ty = syn::parse_quote!(_);
                field.vis = Visibility::Inherited;
            }
        }
        syn::Fields::Unit => {}
    }
    fields.iter_mut().for_each(|field| keep_telling(&mut field.attrs));
}

/// Keeps the attributes that matter to others.
fn keep_telling(attributes: &mut Vec<Attribute>) {
    let telling = ["derive", "non_exhaustive", "must_use", "deprecated", "async_trait"];
    attributes.retain(|attribute| telling.iter().any(|name| attribute.path().is_ident(name)));
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        _ => false,
    })
}
